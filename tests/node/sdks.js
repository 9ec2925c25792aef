// A smoke test of AWS SDK v2 and v3 as they come: `node sdks.js ENDPOINT TABLE v2|v3`.
//
// Writes, reads, queries, transacts and fails on purpose, and prints one JSON list of what was answered.
"use strict";

const [endpoint, TableName, version] = process.argv.slice(2);
const settings = {
  endpoint,
  region: "us-east-1",
  credentials: {
    accessKeyId: process.env.CLIENT_KEY ?? "local",
    secretAccessKey: process.env.CLIENT_SECRET ?? "local",
  },
};

function v2() {
  process.env.AWS_SDK_JS_SUPPRESS_MAINTENANCE_MODE_MESSAGE = "1";
  const DynamoDB = require("aws-sdk/clients/dynamodb");
  const client = new DynamoDB({ ...settings, maxRetries: 0 });
  return (name, input) => client[name[0].toLowerCase() + name.slice(1)](input).promise();
}

function v3() {
  const sdk = require("@aws-sdk/client-dynamodb");
  const client = new sdk.DynamoDBClient({ ...settings, maxAttempts: 1 });
  return (name, input) => client.send(new sdk[`${name}Command`](input));
}

const key = (id) => ({ "type:id": { S: `Book:${id}` } });
const book = (id, title, movedAt) => ({
  ...key(id),
  id: { S: id },
  type: { S: "Book" },
  title: { S: title },
  shelf: { S: "Read" },
  "type:shelf": { S: "Book:Read" },
  movedAt: { N: String(movedAt) },
  addedAt: { N: String(movedAt) },
  rating: { N: "8.5" },
  tags: { SS: ["b", "a"] },
  cover: { B: Buffer.from([0, 1, 254, 255]) },
});
const absent = {
  ConditionExpression: "attribute_not_exists(#key)",
  ExpressionAttributeNames: { "#key": "type:id" },
};
const listed = {
  TableName,
  IndexName: "type",
  KeyConditionExpression: "#type = :book",
  ExpressionAttributeNames: { "#type": "type" },
  ExpressionAttributeValues: { ":book": { S: "Book" } },
};

async function main() {
  const send = version === "v2" ? v2() : v3();
  const answers = [];
  const ask = async (name, input) => {
    try {
      const { $metadata, $response, ...answer } = await send(name, input);
      answers.push([name, answer]);
      return answer;
    } catch (error) {
      const reasons = error.CancellationReasons?.map((reason) => reason.Code);
      answers.push([name, { error: error.code ?? error.name, ...(reasons && { reasons }) }]);
      return {};
    }
  };
  await ask("PutItem", { TableName, Item: book("1", "Emma", 1000), ...absent });
  await ask("PutItem", { TableName, Item: book("1", "Emma", 1000), ...absent });
  await ask("BatchWriteItem", {
    RequestItems: {
      [TableName]: ["2", "3", "4"].map((id) => ({ PutRequest: { Item: book(id, `Volume ${id}`, 1000 + Number(id)) } })),
    },
  });
  await ask("UpdateItem", {
    TableName,
    Key: key("2"),
    UpdateExpression: "SET rating = rating + :half, notes = :note ADD tags :tags",
    ExpressionAttributeValues: { ":half": { N: "0.5" }, ":note": { S: "é 🎉" }, ":tags": { SS: ["c"] } },
    ReturnValues: "ALL_NEW",
  });
  await ask("GetItem", { TableName, Key: key("2"), ConsistentRead: true });
  await ask("GetItem", { TableName, Key: key("nowhere") });
  const first = await ask("Query", { ...listed, Limit: 3, ScanIndexForward: false });
  await ask("Query", { ...listed, ScanIndexForward: false, ExclusiveStartKey: first.LastEvaluatedKey });
  await ask("Query", { ...listed, Select: "COUNT" });
  await ask("TransactWriteItems", {
    ClientRequestToken: "c0ffee00-0000-4000-8000-000000000001",
    TransactItems: [
      { Delete: { TableName, Key: key("3") } },
      { Put: { TableName, Item: book("1", "Emma, again", 2000), ...absent } },
    ],
  });
  await ask("TransactWriteItems", {
    ClientRequestToken: "c0ffee00-0000-4000-8000-000000000002",
    TransactItems: [
      { Delete: { TableName, Key: key("3") } },
      { Put: { TableName, Item: book("5", "Persuasion", 2000), ...absent } },
    ],
  });
  await ask("TransactGetItems", {
    TransactItems: ["1", "3", "5"].map((id) => ({ Get: { TableName, Key: key(id) } })),
  });
  await ask("DeleteItem", { TableName, Key: key("4"), ReturnValues: "ALL_OLD" });
  await ask("Scan", { TableName, Select: "COUNT" });
  await ask("DescribeTable", { TableName: "nonesuch" });
  process.stdout.write(`${JSON.stringify(answers)}\n`);
}

main();

// Billio's data layer as it is today: Dynamoose 2 on AWS SDK v2, one model, eight indexes.
//
// `node billio.js ENDPOINT TABLE` reads one command a line from standard input, as JSON `{"do": name, ...}`, and prints
// one answer a line: `{"ok": result}` or `{"error": code}`. Nothing here knows what answers at ENDPOINT.
"use strict";

const readline = require("node:readline");
const dynamoose = require("dynamoose");

const [endpoint, tableName] = process.argv.slice(2);
dynamoose.aws.sdk.config.update({
  accessKeyId: process.env.CLIENT_KEY ?? "local",
  secretAccessKey: process.env.CLIENT_SECRET ?? "local",
  region: "us-east-1",
  maxRetries: 0,
});
dynamoose.aws.ddb.set(new dynamoose.aws.sdk.DynamoDB({ endpoint }));

const index = (name, rangeKey) => ({ index: { name, global: true, ...(rangeKey && { rangeKey }) } });
const several = (...parts) => ({ index: parts.map((part) => part.index) });

const schema = new dynamoose.Schema(
  {
    "type:id": { type: String, hashKey: true, required: true },
    id: { type: String, required: true },
    type: {
      type: String,
      required: true,
      ...several(index("type", "movedAt"), index("type-addedAt", "addedAt"), index("title", "title")),
    },
    title: { type: String, required: true },
    shelf: { type: String, required: true },
    "type:shelf": {
      type: String,
      required: true,
      ...several(index("shelf", "movedAt"), index("shelf-addedAt", "addedAt")),
    },
    category: { type: String, ...index("category", "movedAt") },
    externalId: { type: String, ...index("externalId", "movedAt") },
    seriesId: { type: String, ...index("seriesId", "seasonNumber") },
    movedAt: { type: Number, required: true },
    addedAt: { type: Number, required: true },
    rating: Number,
    notes: String,
    seasonNumber: Number,
    image: { type: Object, schema: { url: String, width: Number, height: Number } },
  },
  { saveUnknown: true },
);

const Item = dynamoose.model(tableName, schema, {
  create: false,
  waitForActive: { enabled: false },
  prefix: "",
});

const plain = (item) => (item && typeof item.toJSON === "function" ? item.toJSON() : item);

// Dynamoose hands documents around with its own wrappers; JSON has no sets, so they travel as sorted lists.
const shown = (value) =>
  JSON.stringify(value, (_, inner) => (inner instanceof Set ? { set: [...inner].sort() } : inner));

function condition(terms) {
  return terms.reduce((built, [attribute, comparison, ...values]) => {
    const at = built.where(attribute);
    return values.length ? at[comparison](...values) : at[comparison]();
  }, new dynamoose.Condition());
}

function query({ index: name, where, filter = [], sort, limit, startAt }) {
  let asked = Item.query(where[0][0])[where[0][1]](where[0][2]);
  for (const [attribute, comparison, ...values] of where.slice(1)) {
    asked = asked.where(attribute)[comparison](...values);
  }
  for (const [attribute, comparison, ...values] of filter) {
    asked = asked.filter(attribute)[comparison](...values);
  }
  asked = asked.using(name);
  if (sort) asked = asked.sort(sort);
  if (limit) asked = asked.limit(limit);
  return startAt ? asked.startAt(startAt) : asked;
}

const commands = {
  create: async ({ item, overwrite = false }) => plain(await Item.create(item, { overwrite })),

  update: async ({ key, change, only }) =>
    plain(await Item.update({ "type:id": key }, change, only ? { condition: condition(only) } : {})),

  delete: async ({ key, only }) =>
    (await Item.delete({ "type:id": key }, only ? { condition: condition(only) } : {})) ?? null,

  get: async ({ key, consistent = true }) => plain(await Item.get({ "type:id": key }, { consistent })) ?? null,

  batchGet: async ({ keys }) => {
    const found = await Item.batchGet(keys.map((key) => ({ "type:id": key })));
    return [...found].map(plain).sort((a, b) => (a["type:id"] < b["type:id"] ? -1 : 1));
  },

  batchPut: async ({ items }) => (await Item.batchPut(items)).unprocessedItems.length,

  batchDelete: async ({ keys }) =>
    (await Item.batchDelete(keys.map((key) => ({ "type:id": key })))).unprocessedItems.length,

  // As Billio does it: the count of all pages first, then one page by its cursor.
  count: async (asked) => {
    let [count, scanned, startAt] = [0, 0, undefined];
    do {
      const page = await query({ ...asked, startAt }).count().exec();
      count += page.count;
      scanned += page.scannedCount ?? page.count;
      startAt = page.lastKey;
    } while (startAt);
    return { count, scanned };
  },

  page: async (asked) => {
    const found = await query(asked).exec();
    return { items: [...found].map(plain), count: found.count, lastKey: found.lastKey ?? null };
  },

  pages: async (asked) => {
    const pages = [];
    let startAt;
    do {
      const found = await query({ ...asked, startAt }).exec();
      pages.push([...found].map((item) => item["type:id"]));
      startAt = found.lastKey;
    } while (startAt);
    return pages;
  },

  scan: async ({ filter = [], segments }) => {
    let asked = Item.scan();
    for (const [attribute, comparison, ...values] of filter) {
      asked = asked.filter(attribute)[comparison](...values);
    }
    const found = await (segments ? asked.parallel(segments).all().exec() : asked.all().exec());
    return [...found].map((item) => item["type:id"]).sort();
  },

  transaction: async ({ actions }) => {
    const built = actions.map(({ create, update, delete: gone, get, check, change, only }) => {
      if (create) return Item.transaction.create(create, { overwrite: false });
      if (update) return Item.transaction.update({ "type:id": update }, change);
      if (gone) return Item.transaction.delete({ "type:id": gone });
      if (check) return Item.transaction.condition({ "type:id": check }, condition(only));
      return Item.transaction.get({ "type:id": get });
    });
    const done = await dynamoose.transaction(built, {
      type: actions.every((action) => action.get) ? "get" : "write",
    });
    return done ? [...done].map(plain) : null;
  },
};

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { do: name, ...asked } = JSON.parse(line);
    let answer;
    try {
      answer = { ok: (await commands[name](asked)) ?? null };
    } catch (error) {
      answer = { error: error.code ?? error.name, message: error.message };
    }
    process.stdout.write(`${shown(answer)}\n`);
  }
}

main();

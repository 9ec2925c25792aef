// `tsx main.ts` reads one command a line from standard input, as JSON `[name, ...arguments]`, and prints one answer a
// line: `{"ok": result}` or `{"error": code}`. The database is DSQL_URL.
import { createInterface } from "node:readline";

import { drizzle } from "drizzle-orm/node-postgres";
import { Pool } from "pg";

import { layer } from "./layer";

const pool = new Pool({ connectionString: process.env.DSQL_URL, max: 2 });
const { Query, Mutate } = layer(drizzle(pool));
const commands: Record<string, (...given: never[]) => Promise<unknown>> = { ...Query, ...Mutate };

// JSON has no Date.
const revived = (name: string, value: unknown) =>
  ["movedAt", "addedAt", "startDate", "endDate", "moment"].includes(name) ? new Date(value as number) : value;

async function main() {
  for await (const line of createInterface({ input: process.stdin })) {
    const [name, ...given] = JSON.parse(line, revived) as [string, ...never[]];
    try {
      console.log(JSON.stringify({ ok: (await commands[name]!(...given)) ?? null }));
    } catch (error) {
      const cause = ((error as Error).cause ?? error) as { code?: string; message: string };
      console.log(JSON.stringify({ error: cause.code ?? cause.message }));
    }
  }
  await pool.end();
}

void main();

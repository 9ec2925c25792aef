// The plan's new data layer: Billio's `Query` and `Mutate` on Drizzle, over the schema that Crossfade exported.
//
// It differs from the plan where the plan loses something: ids are text, a rating is exact, images and a type's own
// attributes are in `data`, an update changes the attributes of `data` that it names and no others, pages go on after a
// row rather than by OFFSET, and what DSQL refuses for a conflict is tried again: a commit, and any statement that is
// the first to meet another session's change of the schema.
import { and, asc, desc, eq, gte, ilike, inArray, lt, lte, or, type SQL, sql } from "drizzle-orm";
import type { NodePgDatabase } from "drizzle-orm/node-postgres";

import { items, type ItemsData, type ItemsRow, type NewItemsRow } from "./schema";

export interface Options {
  first: number;
  after?: { moment: Date; id: string };
  startDate?: Date;
  endDate?: Date;
  searchTerm?: string;
  minRating?: number;
  sortBy?: "ADDED_AT" | "MOVED_AT";
}

type Key = Pick<ItemsRow, "type" | "id">;
type Changes = Partial<Omit<NewItemsRow, "type" | "id" | "data">> & { data?: ItemsData };

const CONFLICT = "40001";
const ATTEMPTS = 8;

async function retried<T>(run: () => PromiseLike<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await run();
    } catch (error) {
      const cause = (error as { cause?: unknown }).cause ?? error;
      if ((cause as { code?: string }).code !== CONFLICT || attempt === ATTEMPTS) throw error;
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 10 * 2 ** attempt));
    }
  }
}

const escaped = (text: string) => text.replace(/[\\%_]/g, "\\$&");

export function layer(db: NodePgDatabase) {
  function page(conditions: SQL[], options: Options): Promise<ItemsRow[]> {
    const column = options.sortBy === "ADDED_AT" ? items.addedAt : items.movedAt;
    const all = [...conditions, gte(column, options.startDate ?? new Date(0))];
    if (options.endDate) all.push(lte(column, options.endDate));
    if (options.searchTerm) all.push(ilike(items.title, `%${escaped(options.searchTerm)}%`));
    if (options.minRating !== undefined) all.push(gte(items.rating, options.minRating));
    const { after } = options;
    if (after) all.push(or(lt(column, after.moment), and(eq(column, after.moment), lt(items.id, after.id)))!);
    return retried(() =>
      db.select().from(items).where(and(...all)).orderBy(desc(column), desc(items.id)).limit(options.first),
    );
  }

  const is = ({ type, id }: Key) => and(eq(items.type, type), eq(items.id, id));

  const Query = {
    withId: (key: Key) => retried(async () => (await db.select().from(items).where(is(key)))[0] ?? null),
    ofType: (type: string, options: Options) => page([eq(items.type, type)], options),
    onShelf: (type: string, shelf: string, options: Options) =>
      page([eq(items.type, type), eq(items.shelf, shelf)], options),
    withSeriesId: (seriesId: string) =>
      retried(() =>
        db.select().from(items).where(eq(items.seriesId, seriesId)).orderBy(asc(items.seasonNumber), asc(items.id)),
      ),
    withExternalId: (externalId: string) =>
      retried(() => db.select().from(items).where(eq(items.externalId, externalId))),
    forWatching: (options: Options) => page([inArray(items.type, ["Feature", "TvSeries"])], options),
  };

  const Mutate = {
    createItem: (item: NewItemsRow) =>
      retried(async () => {
        const now = new Date();
        const row = { ...item, movedAt: item.movedAt ?? now, addedAt: item.addedAt ?? now };
        return (await db.insert(items).values(row).returning())[0]!;
      }),
    updateItem: ({ data, ...changes }: Changes, key: Key) =>
      retried(async () => {
        const named = data ? { data: sql`${items.data} || ${JSON.stringify(data)}::jsonb` } : {};
        const moved = changes.shelf ? { movedAt: new Date() } : {};
        const set = { ...changes, ...moved, ...named };
        return (await db.update(items).set(set).where(is(key)).returning())[0] ?? null;
      }),
    deleteItem: (key: Key) =>
      retried(async () => (await db.delete(items).where(is(key)).returning()).length > 0),
  };

  return { Query, Mutate };
}

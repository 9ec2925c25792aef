// DynamoDB's table billio, written from its mapping by `crossfade mapping export`.
// It describes the table that the mapping's migrations make; do not let drizzle-kit make it again.
// type:id of DynamoDB is {type}:{id}: the table has the parts.
// type:shelf of DynamoDB is {type}:{shelf}: the table has the parts.
import { sql } from "drizzle-orm";
import { check, index, jsonb, numeric, pgTable, primaryKey, text, timestamp } from "drizzle-orm/pg-core";

// What JSON cannot say has one member whose name begins with $: {"$SS": [...]}, {"$NS": [...]},
// {"$BS": [...]}, {"$B": base64}, {"$N": digits that a double would lose},
// {"$S": base64 of a text with NUL}.
export interface BookData {
  "image"?: { url: string; width: number; height: number } | null;
  "author"?: string | null;
  "reread"?: boolean | null;
  [attribute: string]: unknown;
}

export interface VideoGameData {
  "image"?: { url: string; width: number; height: number } | null;
  "platforms"?: unknown[] | null;
  "devices"?: unknown[] | null;
  "hoursPlayed"?: number | null;
  "replay"?: boolean | null;
  [attribute: string]: unknown;
}

export interface FeatureData {
  "image"?: { url: string; width: number; height: number } | null;
  "releaseYear"?: string | null;
  "rewatch"?: boolean | null;
  [attribute: string]: unknown;
}

export interface TvSeriesData {
  "image"?: { url: string; width: number; height: number } | null;
  "releaseYear"?: string | null;
  [attribute: string]: unknown;
}

export interface TvSeasonData {
  "image"?: { url: string; width: number; height: number } | null;
  "seasonTitle"?: string | null;
  "releaseYear"?: string | null;
  "rewatch"?: boolean | null;
  [attribute: string]: unknown;
}

export type ItemsData = BookData | VideoGameData | FeatureData | TvSeriesData | TvSeasonData;

export const items = pgTable(
  "items",
  {
    type: text("type").notNull(),
    id: text("id").notNull(),
    shelf: text("shelf"),
    title: text("title"),
    rating: numeric("rating", { precision: 6, scale: 3, mode: "number" }),
    externalId: text("external_id"),
    notes: text("notes"),
    // Epoch milliseconds in DynamoDB. A Date keeps no fraction of one; mode: 'string' does.
    addedAt: timestamp("added_at", { withTimezone: true }),
    // Epoch milliseconds in DynamoDB. A Date keeps no fraction of one; mode: 'string' does.
    movedAt: timestamp("moved_at", { withTimezone: true }),
    category: text("category"),
    // The id of TvSeries; a FOREIGN KEY would refuse rows that arrive before it.
    seriesId: text("series_id"),
    seasonNumber: numeric("season_number", { precision: 20, scale: 4 }),
    data: jsonb("data")
      .$type<ItemsData>()
      .notNull()
      .default({}),
  },
  (table) => [
    primaryKey({ columns: [table.type, table.id] }),
    // Serves DynamoDB's index type.
    index("idx_type_moved")
      .on(table.type, table.movedAt, table.id)
      .where(sql`"moved_at" IS NOT NULL`),
    // Serves DynamoDB's index type-addedAt.
    index("idx_type_added")
      .on(table.type, table.addedAt, table.id)
      .where(sql`"added_at" IS NOT NULL`),
    // Serves DynamoDB's index title.
    index("idx_type_title")
      .on(table.type, table.title, table.id)
      .where(sql`"title" IS NOT NULL`),
    // Serves DynamoDB's index category.
    index("idx_category_moved")
      .on(table.category, table.movedAt, table.type, table.id)
      .where(sql`"category" IS NOT NULL AND "moved_at" IS NOT NULL`),
    // Serves DynamoDB's index shelf.
    index("idx_type_shelf_moved")
      .on(table.type, table.shelf, table.movedAt, table.id)
      .where(sql`"shelf" IS NOT NULL AND "moved_at" IS NOT NULL`),
    // Serves DynamoDB's index shelf-addedAt.
    index("idx_type_shelf_added")
      .on(table.type, table.shelf, table.addedAt, table.id)
      .where(sql`"shelf" IS NOT NULL AND "added_at" IS NOT NULL`),
    // Serves DynamoDB's index externalId.
    index("idx_external_id")
      .on(table.externalId, table.movedAt, table.type, table.id)
      .where(sql`"external_id" IS NOT NULL AND "moved_at" IS NOT NULL`),
    // Serves DynamoDB's index seriesId.
    index("idx_series_season")
      .on(table.seriesId, table.seasonNumber, table.type, table.id)
      .where(sql`"series_id" IS NOT NULL AND "season_number" IS NOT NULL`),
    check("chk_series_id", sql`"series_id" IS NULL OR "type" IN ('TvSeason')`),
  ],
);

export type ItemsRow = typeof items.$inferSelect;
export type NewItemsRow = typeof items.$inferInsert;

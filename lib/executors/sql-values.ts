import pg from "pg";

/**
 * What values of Postgres are as JSON. What JSON's numbers cannot hold stays text (bigint, numeric, NaN), as does
 * every type without a form of its own. Times keep their microseconds, which a Date has not.
 */
type Read = (text: string) => unknown;

const asText: Read = (text) => text;

function number(text: string): unknown {
  const value = Number(text);
  return Number.isFinite(value) ? value : text;
}

/** `2026-01-31 07:00:00.5+01` as `2026-01-31T06:00:00.5Z`; infinity and years beyond four digits as they are. */
function instant(text: string): string {
  const parts = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(\.\d+)?([+-])(\d\d)(?::(\d\d))?(?::(\d\d))?$/.exec(text);
  if (parts === null) return text;
  const [, day, time, fraction = "", sign, hours, minutes = "0", seconds = "0"] = parts;
  const offset = (Number(hours) * 3_600 + Number(minutes) * 60 + Number(seconds)) * (sign === "-" ? -1 : 1);
  const utc = new Date(Date.parse(`${day}T${time}Z`) - offset * 1_000).toISOString();
  return /^\d{4}-/.test(utc) ? `${utc.slice(0, 19)}${fraction}Z` : text;
}

const localTime: Read = (text) => text.replace(/^(\d{4}-\d\d-\d\d) ([\d:.]+)$/, "$1T$2");

/** The session asks for this form. */
const bytes: Read = (text) => Buffer.from(text.replace(/^\\x/, ""), "hex").toString("base64");

/** Object ids of types and of their arrays, which are the same in every database. */
const TYPES: readonly [type: number, array: number, read: Read][] = [
  [16, 1000, (text) => text === "t"],
  [17, 1001, bytes],
  [18, 1002, asText],
  [19, 1003, asText],
  [20, 1016, asText],
  [21, 1005, number],
  [23, 1007, number],
  [25, 1009, asText],
  [26, 1028, number],
  [114, 199, JSON.parse],
  [650, 651, asText],
  [700, 1021, number],
  [701, 1022, number],
  [829, 1040, asText],
  [869, 1041, asText],
  [1042, 1014, asText],
  [1043, 1015, asText],
  [1082, 1182, asText],
  [1083, 1183, asText],
  [1114, 1115, localTime],
  [1184, 1185, instant],
  [1186, 1187, asText],
  [1266, 1270, asText],
  [1700, 1231, asText],
  [2950, 2951, asText],
  [3802, 3807, JSON.parse],
];

const TEXT_ARRAY: number = 1009;

/** pg reads the array itself, as one of texts. */
function arrayOf(read: Read): Read {
  const texts = pg.types.getTypeParser(TEXT_ARRAY) as Read;
  const deep = (value: unknown): unknown =>
    Array.isArray(value) ? value.map(deep) : value === null ? null : read(value as string);
  return (text) => deep(texts(text));
}

const READERS = new Map(
  TYPES.flatMap(([type, array, read]): [number, Read][] => [
    [type, read],
    [array, arrayOf(read)],
  ]),
);

export const SQL_TYPES: pg.CustomTypesConfig = { getTypeParser: (type) => READERS.get(type) ?? asText };

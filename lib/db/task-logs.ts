import { promisify } from "node:util";
import { constants, zstdCompress, zstdDecompress } from "node:zlib";
import { z } from "zod";
import type { Db } from "./pool.ts";

export type LogStream = "stdout" | "stderr" | "system";

/** A piece of an attempt's log; `seq` counts from 0 within the attempt. */
export type LogChunk = {
  taskInstanceId: string;
  number: number;
  token: string;
  seq: number;
  stream: LogStream;
  bytes: Buffer;
};

/** Output of an attempt that was given up; `seq` is the place in its log that says so. */
export type LogLoss = { taskInstanceId: string; number: number; seq: number; bytes: number };

const StoredChunks = z.array(
  z.object({
    seq: z.number().int(),
    stream: z.enum(["stdout", "stderr", "system"]),
    at: z.date().transform((time) => time.toISOString()),
    bytes: z.number().int(),
    chunk: z.instanceof(Uint8Array),
  }),
);
export type StoredChunk = Omit<z.infer<typeof StoredChunks>[number], "bytes">;

/**
 * Where the output of attempts is kept, byte for byte. Written by workers, in order for each
 * attempt; read by whoever looks, while it grows. Nothing else of Sluice knows where that is.
 */
export type LogStore = {
  /**
   * Resolves when the chunks are there to be read. Those of an attempt that is no longer their
   * worker's are dropped: a worker that was fenced must not write into the next attempt. A chunk
   * given twice is kept once. May be given again after an error.
   */
  append(chunks: readonly LogChunk[]): Promise<void>;
  /**
   * Records that output was given up, beside its attempt and as an event. One given again, with as
   * many bytes or more, counts once.
   */
  recordLosses(losses: readonly LogLoss[]): Promise<void>;
  /**
   * The next chunks of an attempt after `seq`, some of them; none means that nothing more was
   * written yet.
   */
  read(attempt: { taskInstanceId: string; number: number }, afterSeq: number): Promise<StoredChunk[]>;
};

/** Small enough that a page of the largest chunks does not weigh on the process. */
const PAGE = 64;

/**
 * A row has some forty bytes beside its chunk; less than this is not worth a trip to another
 * thread.
 */
const MIN_PACKED_BYTES = 512;
const FAST = { params: { [constants.ZSTD_c_compressionLevel]: 1 } };
const compress = promisify(zstdCompress);
const decompress = promisify(zstdDecompress);

/** What is kept of a chunk: itself, or where that is shorter, compressed. */
async function packed(bytes: Buffer): Promise<Buffer> {
  if (bytes.length < MIN_PACKED_BYTES) return bytes;
  const short = await compress(bytes, FAST);
  return short.length < bytes.length ? short : bytes;
}

async function unpacked(chunk: Uint8Array<ArrayBuffer>, bytes: number): Promise<Uint8Array<ArrayBuffer>> {
  return chunk.length === bytes ? chunk : decompress(chunk, { maxOutputLength: bytes });
}

/** Logs in Postgres, in partitions that go with their runs. */
export function createLogStore(db: Db): LogStore {
  return {
    async append(chunks) {
      const kept = await Promise.all(chunks.map(({ bytes }) => packed(bytes)));
      let end = 1;
      const starts = kept.map(({ length }) => (end += length) - length);
      await db.query({
        name: "append-log-chunks",
        // The chunks travel as one value: in an array each byte would be two letters to write and to read.
        text: `
          insert into sluice.task_log (task_instance_id, attempt, seq, stream, bytes, chunk)
          select f.id, f.number, f.seq, f.stream, f.bytes, substring($9::bytea from f.start for f.length)
            from unnest($1::bigint[], $2::int[], $3::uuid[], $4::int[], $5::text[], $6::int[], $7::int[], $8::int[])
                 f(id, number, token, seq, stream, bytes, start, length)
           cross join lateral (select from sluice.live_attempt a
                                where a.task_instance_id = f.id and a.token = f.token and a.state = 'running' offset 0) a
          on conflict do nothing`,
        values: [
          chunks.map((c) => c.taskInstanceId),
          chunks.map((c) => c.number),
          chunks.map((c) => c.token),
          chunks.map((c) => c.seq),
          chunks.map((c) => c.stream),
          chunks.map((c) => c.bytes.length),
          starts,
          kept.map(({ length }) => length),
          Buffer.concat(kept),
        ],
      });
    },
    async recordLosses(losses) {
      await db.query({
        name: "record-log-losses",
        text: `
          with l as (
            insert into sluice.log_loss as l (task_instance_id, attempt, seq, bytes)
            select f.id, f.number, f.seq, f.bytes
              from unnest($1::bigint[], $2::int[], $3::int[], $4::bigint[]) f(id, number, seq, bytes)
             order by f.id, f.number, f.seq
            on conflict (task_instance_id, attempt, seq) do update set bytes = excluded.bytes where l.bytes < excluded.bytes
            returning *)
          insert into sluice.event (run_id, task_instance_id, attempt, from_state, to_state, reason, actor)
          select t.run_id, t.id, l.attempt, t.state, t.state, 'LOG_LOST: ' || l.bytes || ' bytes', 'logs'
            from l cross join lateral (select t.run_id, t.id, t.state from sluice.task_instance t
                                        where t.id = l.task_instance_id offset 0) t`,
        values: [
          losses.map((l) => l.taskInstanceId),
          losses.map((l) => l.number),
          losses.map((l) => l.seq),
          losses.map((l) => l.bytes),
        ],
      });
    },
    async read(attempt, afterSeq) {
      const { rows } = await db.query({
        name: "read-log-chunks",
        text: `select seq, stream, at, bytes, chunk from sluice.task_log
               where task_instance_id = $1::bigint and attempt = $2 and seq > $3 order by seq limit ${PAGE}`,
        values: [attempt.taskInstanceId, attempt.number, afterSeq],
      });
      return Promise.all(
        StoredChunks.parse(rows).map(async ({ bytes, chunk, ...row }) => ({
          ...row,
          chunk: await unpacked(chunk, bytes),
        })),
      );
    },
  };
}

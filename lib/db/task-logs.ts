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

/** Stores chunks of live attempts only: what a fenced worker still says is dropped. A chunk sent twice is kept once. */
export async function insertLogChunks(db: Db, chunks: readonly LogChunk[]): Promise<void> {
  await db.query({
    name: "insert-log-chunks",
    text: `
      insert into sluice.task_log (task_instance_id, attempt, seq, stream, chunk)
      select f.id, f.number, f.seq, f.stream, f.chunk
        from unnest($1::bigint[], $2::int[], $3::uuid[], $4::int[], $5::text[], $6::bytea[])
             f(id, number, token, seq, stream, chunk)
        join sluice.live_attempt a on a.task_instance_id = f.id and a.token = f.token and a.state = 'running'
      on conflict do nothing`,
    values: [
      chunks.map((c) => c.taskInstanceId),
      chunks.map((c) => c.number),
      chunks.map((c) => c.token),
      chunks.map((c) => c.seq),
      chunks.map((c) => c.stream),
      chunks.map((c) => c.bytes),
    ],
  });
}

import { constants } from "node:fs";
import { open } from "node:fs/promises";

/**
 * The bytes of a file that the author of a DAG has named, or written. What is opened is what is looked at: no link is followed, a pipe of that name does not
 * block one of the four threads in which Node opens files, and a device gives no endless text. Throws what `open` throws, and
 * an error with code ENOTFILE, EFBIG or EAGAIN.
 */
export async function readRegularFile(file: string, maxBytes: number): Promise<Buffer> {
  const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
  try {
    const found = await handle.stat();
    if (!found.isFile()) throw coded("ENOTFILE", "it is no regular file");
    if (found.size > maxBytes) throw coded("EFBIG", `it has ${found.size} bytes; at most ${maxBytes} are read`);
    // One byte more tells whether it has grown since.
    const buffer = Buffer.alloc(found.size + 1);
    let length = 0;
    for (let read = -1; read !== 0 && length < buffer.length; length += read)
      ({ bytesRead: read } = await handle.read(buffer, length, buffer.length - length, length));
    if (length > found.size) throw coded("EAGAIN", "it grew while it was read");
    return buffer.subarray(0, length);
  } finally {
    await handle.close();
  }
}

function coded(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}

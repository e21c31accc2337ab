import { constants } from "node:fs";
import { open } from "node:fs/promises";

/**
 * The text of a file that the author of a DAG has named. What is opened is what is looked at: no link is followed, a pipe of that name does not
 * block one of the four threads in which Node opens files, and a device gives no endless text. Throws what `open` throws, and
 * an error with code ENOTFILE or EFBIG.
 */
export async function readRegularFile(file: string, maxBytes: number): Promise<string> {
  const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
  try {
    if (!(await handle.stat()).isFile()) throw coded("ENOTFILE", "it is no regular file");
    const buffer = Buffer.alloc(maxBytes + 1);
    let length = 0;
    for (let read = -1; read !== 0 && length < buffer.length; length += read)
      ({ bytesRead: read } = await handle.read(buffer, length, buffer.length - length, length));
    if (length > maxBytes) throw coded("EFBIG", `it has more than ${maxBytes} bytes`);
    return buffer.toString("utf8", 0, length);
  } finally {
    await handle.close();
  }
}

function coded(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}

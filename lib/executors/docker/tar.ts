/**
 * The little of tar (POSIX ustar) that files travel to and from a container in: a folder with plain files in it, and one
 * file back.
 */

const BLOCK = 512;
const FOLDER_MODE = 0o777;
const FILE_MODE = 0o644;

/** An archive with the folder `name`, which anybody may write to, and plain files in it. Names are short and plain. */
export function folderArchive(name: string, files: Readonly<Record<string, string>>): Buffer {
  const entries = Object.entries(files).flatMap(([file, text]) => {
    const bytes = Buffer.from(text);
    return [header(`${name}/${file}`, FILE_MODE, bytes.length, "0"), bytes, padding(bytes.length)];
  });
  return Buffer.concat([header(`${name}/`, FOLDER_MODE, 0, "5"), ...entries, Buffer.alloc(2 * BLOCK)]);
}

/** The first file of an archive; undefined when there is none, or it is no plain file, or the archive is cut off. */
export function fileInArchive(archive: Buffer): Buffer | undefined {
  for (let at = 0; at + BLOCK <= archive.length;) {
    const size = Number.parseInt(archive.toString("latin1", at + 124, at + 135).trim() || "0", 8);
    const type = String.fromCharCode(archive[at + 156]!);
    const start = at + BLOCK;
    if (Number.isNaN(size) || start + size > archive.length) return undefined;
    // What is said of the next entry, or of all of them: times, owners, attributes.
    if (type !== "x" && type !== "g") return type === "0" ? archive.subarray(start, start + size) : undefined;
    at = start + size + padding(size).length;
  }
  return undefined;
}

/** How many bytes an archive has that holds one file of so many, with room for what is said of it. */
export function archiveBytes(fileBytes: number): number {
  return fileBytes + 64 * BLOCK;
}

function header(name: string, mode: number, size: number, type: "0" | "5"): Buffer {
  const block = Buffer.alloc(BLOCK);
  const octal = (value: number, at: number, length: number): void =>
    void block.write(`${value.toString(8).padStart(length - 1, "0")}\0`, at, "latin1");
  block.write(name, 0, 100);
  octal(mode, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(size, 124, 12);
  octal(0, 136, 12);
  block.write(`${" ".repeat(8)}${type}`, 148, "latin1");
  block.write("ustar\x0000", 257, "latin1");
  // The sum is taken with blanks in its own place.
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return block;
}

function padding(size: number): Buffer {
  return Buffer.alloc((BLOCK - (size % BLOCK)) % BLOCK);
}

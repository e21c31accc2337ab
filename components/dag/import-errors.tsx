import { FileWarning } from "lucide-react";

type Problem = { file: string; line: number; column: number; message: string };

/** What is wrong in the DAGs folder; the last good version of each DAG stays in use. */
export function ImportErrors({ problems }: { problems: readonly Problem[] }) {
  if (problems.length === 0) return null;
  const files = new Set(problems.map((problem) => problem.file)).size;
  return (
    <details open className="rounded-lg border border-failed/40 bg-failed/8">
      <summary className="flex items-center gap-2 px-3 py-2 font-medium text-danger">
        <FileWarning aria-hidden className="size-4" />
        {files === 1 ? "1 file cannot be loaded" : `${files} files cannot be loaded`}
      </summary>
      <ul className="grid gap-1 px-3 pb-3 font-mono text-xs leading-5">
        {problems.map(({ file, line, column, message }) => (
          <li key={`${file}:${line}:${column}:${message}`} className="break-words">
            <span className="font-semibold">{`${file}:${line}:${column}`}</span> {message}
          </li>
        ))}
      </ul>
      <p className="border-t border-failed/20 px-3 py-2 text-ink-soft">
        Save the corrected file: it is loaded again at once. Until then the last good version stays in use.
      </p>
    </details>
  );
}

import type { Figure } from "../report.ts";

/** Ours beside each peer, as a table in Markdown: one row for each measure and kind of ours. */
export function peersTable(figures: readonly Figure[]): string {
  const peers = ["dbos", "bullmq"].filter((peer) => figures.some(({ id }) => id.endsWith(`/${peer}`)));
  const rows = new Map<string, Map<string, Figure>>();
  for (const figure of figures) {
    const [measure, peer] = figure.id.split("/");
    if (!peers.includes(peer!)) continue;
    const key = `${measure} (${figure.kind})`;
    rows.set(key, (rows.get(key) ?? new Map<string, Figure>()).set(peer!, figure));
  }
  const line = (cells: readonly (string | number)[]): string => `| ${cells.join(" | ")} |\n`;
  const heads = ["measure", "ours", ...peers, ...peers.map((peer) => `ours / ${peer}`)];
  return [
    line(heads),
    line(heads.map(() => "---")),
    ...[...rows].map(([measure, of]) => {
      const { figure, unit } = of.get(peers[0]!)!;
      const theirs = peers.map((peer) => of.get(peer)!.limit ?? "");
      const ratios = peers.map((peer) => of.get(peer)!.ratio ?? "");
      return line([measure, `${figure} ${unit}`, ...theirs, ...ratios]);
    }),
  ].join("");
}

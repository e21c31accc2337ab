import { z } from "zod";

/** A number and a binary unit. */
export const MEMORY_SIZE = /^\d{1,6}(Ki|Mi|Gi|Ti)$/;

export const Resources = z.strictObject({
  cpu: z.number().min(0.01).max(1_024).optional().describe("Processors; 0.5 is half of one."),
  memory: z
    .string()
    .regex(MEMORY_SIZE, "must be a size like 512Mi or 2Gi")
    .optional()
    .describe("Memory with a binary unit."),
});

/** Thousandths of a processor and MiB: whole numbers, because sums of them are compared. 0 asks for nothing. */
export type ResourceAmount = { cpu: number; memory: number };

const MIB = { Ki: 1 / 1024, Mi: 1, Gi: 1024, Ti: 1024 * 1024 } as const;

/** What a task asks of its worker; a size is rounded up to whole MiB. */
export function resourceAmount(resources: z.output<typeof Resources> | undefined): ResourceAmount {
  const { cpu = 0, memory } = resources ?? {};
  const [, size = "0", unit = "Mi"] = /^(\d+)([KMGT]i)$/.exec(memory ?? "") ?? [];
  return { cpu: Math.round(cpu * 1000), memory: Math.ceil(Number(size) * MIB[unit as keyof typeof MIB]) };
}

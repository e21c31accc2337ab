import { createProtocolGuard } from "#worker/protocol-guard.ts";
import { SILENT } from "./silent-log.ts";

/** For tests in which program and database fit. */
export const FITTING = createProtocolGuard({ log: SILENT, onOver: () => undefined });

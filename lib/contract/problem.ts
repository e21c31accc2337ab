import { z } from "zod";

/** The body of every error: RFC 9457 `application/problem+json`. */
export const ProblemDocument = z.object({
  type: z.string(),
  title: z.string(),
  status: z.number().int(),
  detail: z.string(),
  code: z.string(),
  errors: z.array(z.object({ path: z.string(), message: z.string() })).optional(),
  requestId: z.string(),
});
export type ProblemDocument = z.infer<typeof ProblemDocument>;

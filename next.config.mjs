import { securityHeaders } from "./app/headers.mjs";

/** @type {import("next").NextConfig} */
export default {
  output: "standalone",
  poweredByHeader: false,
  // Nothing here needs the image endpoint, and it would answer without a sign-in.
  images: { unoptimized: true },
  headers: async () => [{ source: "/:path*", headers: securityHeaders }],
  // `npm run check` type-checks everything with the native compiler; Next would need the JavaScript one.
  typescript: { ignoreBuildErrors: true },
  serverExternalPackages: ["pg", "pg-boss", "pino", "@prisma/client", "@prisma/adapter-pg"],
};

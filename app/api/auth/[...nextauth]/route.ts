import { serveAuth } from "#lib/auth/serve.ts";

export { serveAuth as GET, serveAuth as POST };

/** next-auth's paths that the console's own forms call, and their methods. Nothing else of it is served. */
export const AUTH_PATHS: Readonly<Record<string, "GET" | "POST">> = {
  csrf: "GET",
  providers: "GET",
  "callback/credentials": "POST",
  signout: "POST",
};

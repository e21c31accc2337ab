const HOME = "/dags";

/** Where to go after the sign-in: only a path of this site, else the start page. */
export function safePath(wanted: string | undefined): string {
  if (wanted === undefined || !wanted.startsWith("/")) return HOME;
  // Browsers read `//host` and `/\host` as another site, and drop tabs and line ends before they look.
  if (/[\\\u0000-\u0020\u007f]/.test(wanted) || wanted.startsWith("//")) return HOME;
  return wanted;
}

/** The sign-in page's address that returns to `path`. */
export function loginPath(path: string): string {
  return `/login?callbackUrl=${encodeURIComponent(safePath(path))}`;
}

import { useSyncExternalStore } from "react";

const never = (): (() => void) => () => undefined;

/** False until the browser runs this page: a button that needs it is disabled so long, instead of deaf. */
export function useHydrated(): boolean {
  return useSyncExternalStore(
    never,
    () => true,
    () => false,
  );
}

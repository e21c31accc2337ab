/** Gives attempts back that calls may have claimed whose answer never came. */
export type Unheard = {
  /**
   * Gives back what there is; one call at a time. Resolves when it is done or has failed; what
   * failed is tried at the next call.
   */
  giveBack(): Promise<void>;
};

/**
 * `inbox` gets the tokens of such calls. A call may still be under way in the database when its
 * connection is gone, and commit after its tokens were given back in vain: so each is given back
 * again at every call of `giveBack` for `keepMs`.
 */
export function createUnheard(options: {
  inbox: string[];
  keepMs: number;
  handBack: (tokens: readonly string[]) => Promise<void>;
  onError: (error: unknown) => void;
  nowMs?: () => number;
}): Unheard {
  const { inbox, keepMs, handBack, onError, nowMs = () => performance.now() } = options;
  /** When each token came. */
  const since = new Map<string, number>();
  let running: Promise<void> | undefined;

  const giveBack = async (): Promise<void> => {
    const begunAt = nowMs();
    for (const token of inbox.splice(0)) since.set(token, begunAt);
    const tokens = [...since.keys()];
    if (tokens.length === 0) return;
    try {
      await handBack(tokens);
    } catch (error) {
      return onError(error);
    }
    for (const token of tokens) if (begunAt - since.get(token)! >= keepMs) since.delete(token);
  };

  return {
    giveBack() {
      running ??= giveBack().finally(() => {
        running = undefined;
      });
      return running;
    },
  };
}

import { useEffect, useEffectEvent, useState } from "react";

/** `connecting` also means reconnecting; `paused` = the tab is hidden; `over` = everything has been sent. */
export type Connection = "connecting" | "live" | "paused" | "over";

type Handlers = {
  /** By event name; answering "over" closes the stream for good. */
  events: Readonly<Record<string, (data: unknown) => "more" | "over">>;
  onOpen?: () => void;
};

/** How long until a new try when the server refused the stream: the browser itself only retries broken ones. */
const RETRY_MS = 3_000;

/**
 * Listens to a server-sent stream. A hidden tab lets go of it: a browser opens six connections to one host,
 * and tabs in the background would use them up.
 */
export function useEventSource(url: string | undefined, handlers: Handlers): Connection {
  const [seen, setSeen] = useState<{ url: string; connection: Connection }>();
  const handle = useEffectEvent((name: string, data: unknown) => handlers.events[name]?.(data) ?? "more");
  const opened = useEffectEvent(() => handlers.onOpen?.());
  const names = Object.keys(handlers.events).join(" ");
  useEffect(() => {
    if (url === undefined) return;
    const report = (connection: Connection): void => setSeen({ url, connection });
    return keepOpen(url, names.split(" "), {
      report,
      opened: () => opened(),
      handle: (name, data) => handle(name, data),
    });
  }, [url, names]);
  return seen?.url === url ? (seen?.connection ?? "connecting") : "connecting";
}

type Callbacks = {
  report: (connection: Connection) => void;
  opened: () => void;
  handle: (name: string, data: unknown) => "more" | "over";
};

function keepOpen(url: string, names: readonly string[], { report, opened, handle }: Callbacks): () => void {
  let source: EventSource | undefined;
  let retry: ReturnType<typeof setTimeout> | undefined;
  let over = false;
  const close = (): void => {
    clearTimeout(retry);
    source?.close();
    source = undefined;
  };
  const open = (): void => {
    close();
    const current = new EventSource(url);
    source = current;
    current.onopen = () => {
      opened();
      report("live");
    };
    current.onerror = () => {
      report("connecting");
      if (current.readyState === EventSource.CLOSED) retry = setTimeout(open, RETRY_MS);
    };
    for (const name of names) {
      current.addEventListener(name, (event: MessageEvent<string>) => {
        over ||= handle(name, JSON.parse(event.data)) === "over";
        if (!over) return;
        close();
        report("over");
      });
    }
  };
  const onVisibility = (): void => {
    if (over) return;
    if (!document.hidden) return open();
    close();
    report("paused");
  };
  document.addEventListener("visibilitychange", onVisibility);
  onVisibility();
  return () => {
    document.removeEventListener("visibilitychange", onVisibility);
    close();
  };
}

// Stands for web, scheduler or worker: its first argument says how it behaves.
const behaviour = process.argv[2];

process.on("SIGTERM", () => {
  console.log("told to stop");
  if (behaviour !== "stubborn") process.exit(0);
});
if (behaviour !== "orphan") process.on("disconnect", () => process.exit(0));
else process.on("disconnect", () => undefined);
setInterval(() => undefined, 60_000);

if (behaviour === "broken") process.exit(3);
console.log(`up ${process.pid}`);
process.send?.({ type: "ready" });

import { bash, dag, fn } from "sluice";

type Sales = { city: string; amount: number }[];

/** The compiler checks `dependsOn` and what each function reads from its parents. */
export default dag("etl", { description: "The same idea in TypeScript: extract, transform, load.", tags: ["example"] })
  .task(
    "extract",
    bash<Sales>(`
      echo "fetching sales"
      echo '[{"city":"Berlin","amount":120},{"city":"Oslo","amount":80},{"city":"Berlin","amount":30}]' > "$SLUICE_OUTPUT"
    `),
  )
  .task(
    "validate",
    { dependsOn: ["extract"] },
    bash(`grep -q amount "$SLUICE_INPUTS" && echo "every row has an amount"`),
  )
  .task(
    "transform",
    { dependsOn: ["extract"] },
    fn(({ outputs }) => {
      const totals = new Map<string, number>();
      for (const sale of outputs.extract) totals.set(sale.city, (totals.get(sale.city) ?? 0) + sale.amount);
      console.log(`${outputs.extract.length} sales in ${totals.size} cities`);
      return Object.fromEntries(totals);
    }),
  )
  .task("load", { dependsOn: ["validate", "transform"] }, bash(`echo "loading $(cat "$SLUICE_INPUTS")"`));

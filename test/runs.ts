/** How often a property is tried: `PROPERTY_RUNS=1000000` for a long run. The heavy tests try it five times as often. */
export const RUNS = Number(process.env.PROPERTY_RUNS ?? 500)

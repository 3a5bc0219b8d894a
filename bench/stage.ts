import type { Child } from './child.js'
import type { Island } from './island.js'
import type { Options } from './options.js'
import type { Near, Path, PathKind } from './paths/path.js'
import type { Metric, Results } from './results.js'

/** What a row measures on. */
export interface Stage {
  island: Island
  options: Options
  results: Results
  /** The kinds that can be had here. */
  kinds: PathKind[]
  /** One path of each kind, that stands for the whole run, to the same backend. */
  standing: Standing[]
  backend: { child: Child; port: number }
}

/** A path with a near end. */
export interface Standing {
  kind: PathKind
  path: Path
  near: Near
}

export interface Row {
  name: string
  title: string
  metrics: Record<string, Metric>
  /** Whether baselines stand beside it only to be seen, not to be outdone. */
  isList?: boolean
  run(stage: Stage): Promise<void>
}

/** Opens a path of each kind. */
export async function stand(island: Island, kinds: PathKind[], port: number): Promise<Standing[]> {
  const standing: Standing[] = []
  for (const kind of kinds) {
    const path = await kind.open(island, port)
    standing.push({ kind, path, near: await path.near() })
  }
  return standing
}

/**
 * Measures each path once in each run, and not one path after the other, so that whatever else the
 * machine does meanwhile troubles all of them alike.
 */
export async function eachRun<T extends { kind: PathKind }>(
  { options }: Stage,
  subjects: T[],
  measure: (subject: T) => Promise<void>
) {
  for (let run = 0; run < options.runs; run++) {
    for (const subject of subjects) await measure(subject)
  }
}

/** Adds the values of one measurement to the results. */
export function record(
  { results }: Stage,
  { name, metrics }: Row,
  { name: path }: PathKind,
  values: Record<string, number>
) {
  for (const [metric, value] of Object.entries(values)) {
    const about = metrics[metric]
    if (!about) throw new Error(`row ${name} has no metric ${metric}`)
    if (!Number.isNaN(value)) results.add(name, path, metric, value, about)
  }
}

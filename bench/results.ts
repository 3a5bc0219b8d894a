import { median } from './statistics.js'

export interface Metric {
  title: string
  unit: string
  better: 'more' | 'less'
}

/** One measurement, taken once in each run. */
export interface Result extends Metric {
  row: string
  metric: string
  path: string
  samples: number[]
  median: number
  min: number
  max: number
}

export interface Skipped {
  row: string
  path: string
  reason: string
}

/** What was measured, in the order in which it was first seen. */
export class Results {
  readonly notes: string[] = []
  readonly skipped: Skipped[] = []
  readonly #results = new Map<string, Result>()

  add(row: string, path: string, metric: string, value: number, about: Metric) {
    const key = JSON.stringify([row, metric, path])
    const samples = [...(this.#results.get(key)?.samples ?? []), value]
    this.#results.set(key, {
      row,
      metric,
      path,
      ...about,
      samples,
      median: median(samples),
      min: Math.min(...samples),
      max: Math.max(...samples)
    })
  }

  note(text: string) {
    if (!this.notes.includes(text)) this.notes.push(text)
  }

  all(): Result[] {
    return [...this.#results.values()]
  }

  of(row: string): Result[] {
    return this.all().filter((result) => result.row === row)
  }

  /** The median, or null if that was not measured. */
  median(row: string, metric: string, path: string): number | null {
    return this.#results.get(JSON.stringify([row, metric, path]))?.median ?? null
  }
}

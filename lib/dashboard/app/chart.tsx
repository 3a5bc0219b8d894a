import type { Sample } from './feed.js'

interface ChartProps {
  title: string
  /** What it is now, in words. */
  value: string
  samples: readonly Sample[]
  lines: readonly { of: (sample: Sample) => number; name: string; tone: string }[]
  format: (value: number) => string
}

const WIDTH = 240
const HEIGHT = 56
const SECONDS = 120

/** One quantity over the last two minutes. */
export function Chart({ title, value, samples, lines, format }: ChartProps) {
  const highest = Math.max(0, ...lines.flatMap(({ of }) => samples.map(of)))
  const top = highest === 0 ? 1 : highest * 1.1
  const x = (index: number) => WIDTH - ((samples.length - 1 - index) / (SECONDS - 1)) * WIDTH
  const y = (value: number) => HEIGHT - 2 - (value / top) * (HEIGHT - 6)
  const points = (of: (sample: Sample) => number) =>
    samples.map((sample, i) => `${x(i).toFixed(1)},${y(of(sample)).toFixed(1)}`).join(' ')
  const summary = `${title}: ${value} now, ${format(highest)} at most in the last two minutes`
  return (
    <section class="tile">
      <h2>{title}</h2>
      <p class="value">{value}</p>
      <svg
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
        preserveAspectRatio="none"
        role="img"
        aria-label={summary}
      >
        <line class="base" x1="0" x2={WIDTH} y1={HEIGHT - 2} y2={HEIGHT - 2} />
        {samples.length > 1 &&
          lines.map(({ of, name, tone }, i) => (
            <g key={name} class={tone}>
              {i === 0 && (
                <polygon points={`${x(0)},${HEIGHT - 2} ${points(of)} ${WIDTH},${HEIGHT - 2}`} />
              )}
              <polyline points={points(of)} />
            </g>
          ))}
      </svg>
      <p class="legend">
        {lines.map(({ name, tone }) => (
          <span key={name} class={tone}>
            {name}
          </span>
        ))}
        <span class="peak">max {format(highest)}</span>
      </p>
    </section>
  )
}

import type { Feed } from './feed.js'
import { short } from './format.js'
import { healthOf, type Service } from './services.js'

const MAX_ROLES = 12
const MAX_DOTS = 30
const ROW = 46
const DOTS_PER_LINE = 15
const WIDTH = 520
const GATEWAY_X = 44
const ROLE_X = 190
const DOTS_X = 318

/** Who serves whom: the gateway on the left, the roles, and their instances as dots. */
export function ServiceMap({ feed, services }: { feed: Feed; services: Service[] }) {
  const busiest = [...services]
    .sort((a, b) => feed.now(b.role).requests - feed.now(a.role).requests)
    .slice(0, MAX_ROLES)
    .sort((a, b) => (a.role < b.role ? -1 : 1))
  const height = Math.max(3, busiest.length) * ROW + 20
  const middle = height / 2
  const summary = busiest
    .map(
      ({ role, instances }) =>
        `${role}, ${instances.length} instances, ${short(feed.now(role).requests)} requests per second`
    )
    .join('; ')
  return (
    <svg
      class="map"
      viewBox={`0 0 ${WIDTH} ${height}`}
      role="img"
      aria-label={`Map of services: ${summary || 'empty'}`}
    >
      {busiest.map(({ role }, i) => {
        const y = 10 + ROW * (i + 0.5)
        const { requests, errors } = feed.now(role)
        const tone = errors > 0 ? 'bad' : requests > 0 ? 'busy' : 'idle'
        const bend = (GATEWAY_X + ROLE_X) / 2
        return (
          <path
            key={role}
            class={`edge ${tone}`}
            stroke-width={1.2 + Math.min(7, Math.log2(1 + requests))}
            d={`M${GATEWAY_X} ${middle} C${bend} ${middle} ${bend} ${y} ${ROLE_X - 12} ${y}`}
          />
        )
      })}
      <g class="gateway">
        <circle cx={GATEWAY_X} cy={middle} r="26" />
        <text x={GATEWAY_X} y={middle + 4}>
          gateway
        </text>
      </g>
      {busiest.map((service, i) => (
        <RoleNode key={service.role} feed={feed} service={service} y={10 + ROW * (i + 0.5)} />
      ))}
    </svg>
  )
}

function RoleNode({ feed, service, y }: { feed: Feed; service: Service; y: number }) {
  const { role, instances } = service
  const dots = instances.slice(0, MAX_DOTS)
  const { requests } = feed.now(role)
  const name = role.length > 18 ? `${role.slice(0, 17)}…` : role
  return (
    <g>
      <text class="role" x={ROLE_X - 6} y={requests > 0 ? y - 2 : y + 4}>
        {name}
      </text>
      {requests > 0 && (
        <text class="rate" x={ROLE_X - 6} y={y + 13}>
          {short(requests)} req/s
        </text>
      )}
      {dots.map((instance, i) => {
        const isBusy = feed.now(instance.key).requests > 0
        return (
          <circle
            key={instance.key}
            class={`dot ${healthOf(instance)} ${isBusy ? 'busy' : ''}`}
            cx={DOTS_X + (i % DOTS_PER_LINE) * 13}
            cy={y + (dots.length > DOTS_PER_LINE ? Math.floor(i / DOTS_PER_LINE) * 13 - 6 : 0)}
            r="4.5"
          />
        )
      })}
      {instances.length > MAX_DOTS && (
        <text class="more" x={DOTS_X - 6} y={y + 21}>
          and {instances.length - MAX_DOTS} more
        </text>
      )}
    </g>
  )
}

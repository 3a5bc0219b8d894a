import type { Near, PathKind } from './path.js'
import { SeaportPath } from './seaport.js'

/** The web gateway and a service, through the real binary, over TCP. */
export const web = webPath('hyperseaport web', [])

/** The same, with every request read by node:http. */
export const webWithoutFastPath = webPath('hyperseaport web, no fast path', ['--no-fastPath'])

function webPath(name: string, flags: string[]): PathKind {
  const kind: PathKind = {
    name,
    isBaseline: false,
    missing: async () => null,
    async open(island, backendPort) {
      const path = await SeaportPath.open(kind, island, backendPort, [])
      return {
        kind,
        far: path.far,
        async near(): Promise<Near> {
          const child = island.seaport('web', ['-p', '0', '--dir', island.folder(), ...flags])
          const port = Number(await child.waitForLine('web server listening on port '))
          return { port, path: `/role/${path.role}@1.x/`, child, stop: () => child.stop() }
        },
        close: () => path.close()
      }
    }
  }
  return kind
}

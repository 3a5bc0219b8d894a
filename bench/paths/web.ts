import type { Near, PathKind } from './path.js'
import { SeaportPath } from './seaport.js'

/** The web gateway and a service, through the real binary, over TCP. */
export const web: PathKind = {
  name: 'hyperseaport web',
  isBaseline: false,
  missing: async () => null,
  async open(island, backendPort) {
    const path = await SeaportPath.open(web, island, backendPort, [])
    return {
      kind: web,
      far: path.far,
      async near(): Promise<Near> {
        const child = island.seaport('web', ['-p', '0', '--dir', island.folder()])
        const port = Number(await child.waitForLine('web server listening on port '))
        return { port, path: `/role/${path.role}@1.x/`, child, stop: () => child.stop() }
      },
      close: () => path.close()
    }
  }
}

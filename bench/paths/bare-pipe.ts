import type { PathKind } from './path.js'

/** What one writes in an afternoon: a HyperDHT connection for each TCP connection, well piped. */
export const barePipe: PathKind = {
  name: 'bare pipe',
  isBaseline: true,
  missing: async () => null,
  async open(island, backendPort) {
    const far = island.actor('pipe-server', [island.bootstrap, backendPort])
    const key = await far.waitForLine('key=')
    return {
      kind: barePipe,
      far,
      async near() {
        const child = island.actor('pipe-client', [island.bootstrap, key])
        const port = Number(await child.waitForLine('port='))
        return { port, child, stop: () => child.stop() }
      },
      close: () => far.stop()
    }
  }
}

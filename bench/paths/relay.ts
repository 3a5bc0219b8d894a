import type { PathKind } from './path.js'

/** Two processes of Node that pass bytes on, and do nothing else: the floor under every tunnel in Node. */
export const plainRelay: PathKind = {
  name: 'plain relay',
  isBaseline: true,
  missing: async () => null,
  async open(island, backendPort) {
    const far = island.actor('relay-far', [backendPort])
    const port = await far.waitForLine('port=')
    return {
      kind: plainRelay,
      far,
      async near() {
        const child = island.actor('relay-near', [port])
        return {
          port: Number(await child.waitForLine('port=')),
          child,
          stop: () => child.stop()
        }
      },
      close: () => far.stop()
    }
  }
}

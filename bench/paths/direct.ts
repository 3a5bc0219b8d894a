import type { PathKind } from './path.js'

/** No path at all: the client connects to the backend. */
export const direct: PathKind = {
  name: 'direct TCP',
  isBaseline: true,
  missing: async () => null,
  async open(_island, port) {
    return {
      kind: direct,
      far: null,
      near: async () => ({ port, child: null, stop: async () => {} }),
      close: async () => {}
    }
  }
}

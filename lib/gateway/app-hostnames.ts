import { APP, type AppStatement, ownersOf } from '../registry/trust/signed.js'

/** The part of the registry's statements that tells of apps. */
interface KnownApps {
  list(kind: typeof APP): AppStatement[]
  watch(kind: typeof APP, listener: () => void): () => void
}

/** Finds the app that a hostname belongs to, by the current app statements. */
export class AppHostnames {
  #statements: KnownApps | null = null
  /** Apps by hostname; null after a statement has changed. */
  #owners: Map<string, AppStatement> | null = null

  /** Reads app statements from here. Before this call no hostname has an app. */
  follow(statements: KnownApps) {
    this.#statements = statements
    statements.watch(APP, () => {
      this.#owners = null
    })
  }

  /** The app that has a hostname and is not stopped; null if there is none. */
  appOf(hostname: string): AppStatement | null {
    this.#owners ??= this.#read()
    return this.#owners.get(hostname) ?? null
  }

  #read(): Map<string, AppStatement> {
    const all = this.#statements?.list(APP) ?? []
    const byName = new Map(all.map((statement) => [statement.app, statement]))
    const owners = [...ownersOf(all)].flatMap(([hostname, name]) => {
      const app = byName.get(name)
      return app?.state === 'running' ? [[hostname, app] as const] : []
    })
    return new Map(owners)
  }
}

/** All versions of an app that count: the wanted one and those that are being replaced. */
export function rangeOf({ version, kept }: AppStatement): string {
  return [...new Set([version, ...kept.map(({ version }) => version)])].join(' || ')
}

/** What somebody asks for. */
export type Right =
  | { kind: 'read' }
  | { kind: 'admin' }
  | { kind: 'host' }
  /** On a host with these labels, `region=eu` each; on some host if they are left out. */
  | { kind: 'deploy'; app: string; labels?: ReadonlySet<string> }
  | { kind: 'serve' | 'consume'; role: string; version: string }
  | { kind: 'call'; role: string; version: string; command: string }

/** The role under which hosts are registered. Who may host serves it, and who may host or deploy consumes it. */
export const HOST_ROLE = '@hyperseaport/host'

/** Answers who may do what. Keys are hex. */
export interface Rights {
  /** The registry's public key, which may do everything. */
  readonly registry: string
  /** Whether a key has a right now. */
  allows(subject: string, right: Right): boolean
}

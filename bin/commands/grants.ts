import type { Grant, Revocation } from '../../lib/index.js'
import { printableJson } from '../../lib/printing.js'
import { ADMIN_FLAGS, hearAll, OPEN_REGISTRY, openAdmin } from '../administration.js'
import type { Command } from '../command.js'
import { table } from '../table.js'
import { say } from '../talk.js'

/** How long registrars that are known may take to be heard of, in ms. Most that run are heard sooner. */
const HEARING_MS = 1000
const COLUMNS = ['KEY', 'SERVE', 'CONSUME', 'CALL', 'ADMIN', 'EXPIRES', 'BY']

/** Shows who may do what. */
export const grants: Command = {
  verb: 'grants',
  flags: ADMIN_FLAGS,
  examples: [
    ['grants', 'With the seed in the config file'],
    ['grants --json', 'For a program to read, signatures and all']
  ],

  async run(settings, lifetime) {
    const json = settings.on('json')
    const admin = await openAdmin(settings, lifetime)
    await hearAll(admin, HEARING_MS)
    const listed = admin.list()
    if (json) return console.log(printableJson(listed, 2))
    if (!listed.private) say(OPEN_REGISTRY)
    const revoked = listed.revoked.filter(
      ({ subject }) => !listed.grants.some((grant) => grant.subject === subject)
    )
    const rows = [...listed.grants.map(toRow), ...revoked.map(toRevokedRow)]
    if (rows.length > 0) console.log(table([COLUMNS, ...rows]))
    else say('nobody was granted anything')
  }
}

function toRow(grant: Grant): string[] {
  const { subject, serve, consume, call = [], admin, expiresAt, issuer, registry } = grant
  return [
    subject,
    serve.join(' ') || '-',
    consume.join(' ') || '-',
    call.join(' ') || '-',
    admin ? 'yes' : '-',
    expiresAt === 0 ? 'never' : new Date(expiresAt).toISOString(),
    nameOf(issuer, registry)
  ]
}

function toRevokedRow({ subject, issuedAt, issuer, registry }: Revocation): string[] {
  const when = `revoked ${new Date(issuedAt).toISOString()}`
  return [subject, '-', '-', '-', '-', when, nameOf(issuer, registry)]
}

function nameOf(issuer: string, registry: string): string {
  return issuer === registry ? 'registry' : issuer
}

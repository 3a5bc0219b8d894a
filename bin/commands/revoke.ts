import { SeaportError, toHex } from '../../lib/identity.js'
import { ADMIN_FLAGS, KEY_FLAG, openAdmin } from '../administration.js'
import type { Command } from '../command.js'

/** Takes back all that a key was granted. */
export const revoke: Command = {
  verb: 'revoke',
  positional: 'key',
  flags: { key: KEY_FLAG, ...ADMIN_FLAGS },
  examples: [['revoke abe2…', 'Within a moment it is out, and its instances are gone']],

  async run(settings, lifetime) {
    const key = settings.key('key')
    const admin = await openAdmin(settings, lifetime)
    const { grants, revoked: before } = admin.list()
    if (![...grants, ...before].some(({ subject }) => subject === toHex(key))) {
      throw SeaportError.NOT_FOUND(
        `${toHex(key)} was granted nothing in this registry, so nothing was revoked; 'hyperseaport grants' lists who was`
      )
    }
    const revoked = await admin.revoke(key)
    console.log(
      settings.on('json') ? JSON.stringify(revoked, null, 2) : `revoked ${revoked.subject}`
    )
  }
}

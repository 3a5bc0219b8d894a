import { ADMIN_FLAGS, hearAll, openAdmin } from '../administration.js'
import type { Command } from '../command.js'

const { json: _, ...FLAGS } = ADMIN_FLAGS

/** Writes a backup. */
export const exportRegistry: Command = {
  verb: 'export',
  flags: FLAGS,
  examples: [['export > backup.jsonl', 'Records are in it too, but come back with their owners']],

  async run(settings, lifetime) {
    const admin = await openAdmin(settings, lifetime)
    await hearAll(admin)
    for (const line of admin.export()) console.log(line)
  }
}

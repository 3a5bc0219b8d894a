/** Writes hyperseaport.app.schema.json, which editors read, from the schema that app files are held to. */
import { writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

const HOUSE = resolve(import.meta.dirname, '..')
const { APP_SCHEMA } = await import(join(HOUSE, 'dist/lib/hosting/app-schema.js'))

writeFileSync(
  join(HOUSE, 'hyperseaport.app.schema.json'),
  `${JSON.stringify(APP_SCHEMA, null, 2)}\n`
)

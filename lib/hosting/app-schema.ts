import { DNS_NAME } from '../core/hostname.js'
import { LABEL_NAME, LABEL_VALUE } from '../core/label.js'
import type { JsonSchema } from './json-schema.js'

const DURATION = '^\\d+(\\.\\d+)?(ms|s|m|h|d|w)?$'
const SIZE = '^\\d+(\\.\\d+)?(B|kB|KB|MB|GB|KiB|MiB|GiB)?$'
/** The pattern of names of environment variables. */
const VARIABLE = '^[A-Za-z_][A-Za-z0-9_]{0,127}$'
const MAX_WORDS = 256
const MAX_TEXT = 4096

const duration = (description: string, preset: string): JsonSchema => ({
  title: 'a time as in 500ms, 10s or 7d',
  description,
  type: 'string',
  pattern: DURATION,
  maxLength: 20,
  default: preset
})

const size = (description: string): JsonSchema => ({
  title: 'a size as in 200MB or 1GiB',
  description,
  type: 'string',
  pattern: SIZE,
  maxLength: 20
})

const command = (description: string): JsonSchema => ({
  title: 'a command line for the shell, or a list of a program and its arguments',
  description,
  anyOf: [
    { type: 'string', minLength: 1, maxLength: MAX_TEXT },
    {
      type: 'array',
      items: { type: 'string', maxLength: MAX_TEXT },
      minItems: 1,
      maxItems: MAX_WORDS
    }
  ]
})

/**
 * The JSON schema of `hyperseaport.app.json`. `hyperseaport.app.schema.json` in the package is made of it, by
 * `npm run docs:schema`.
 */
export const APP_SCHEMA: JsonSchema & Record<string, unknown> = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  title: 'an object',
  description: 'An app that hyperseaport runs: what it is, where it may run, and how.',
  type: 'object',
  required: ['name'],
  additionalProperties: false,
  properties: {
    $schema: { title: 'a text', type: 'string', maxLength: MAX_TEXT },
    name: {
      title: 'a name as in shop or @team/api',
      description: 'The name of the app. Its instances serve a role of this name.',
      type: 'string',
      pattern: '^(?:@[a-z0-9~-][a-z0-9._~-]*/)?[a-z0-9~-][a-z0-9._~-]*$',
      maxLength: 100
    },
    version: {
      title: 'an exact version as in 1.2.3',
      description: 'Default: that of package.json beside this file, else 1.0.0.',
      type: 'string',
      pattern: '^\\d+\\.\\d+\\.\\d+(-[0-9A-Za-z.-]+)?$',
      maxLength: 100
    },
    command: command(
      'What runs, in the folder of the bundle. Default: node server.js, or node index.js, whichever is there.'
    ),
    port: {
      title: 'a port, true for a free one, or false for an app that listens on none',
      description: 'Where the app listens. It finds the port in PORT.',
      anyOf: [{ type: 'integer', minimum: 1, maximum: 65535 }, { type: 'boolean' }],
      default: true
    },
    check: {
      title: 'tcp, http:/path or none',
      description: 'How to see whether an instance is well. Without a port: none.',
      type: 'string',
      pattern: '^(tcp|none|http:/.*)$',
      maxLength: 1024,
      default: 'tcp'
    },
    env: {
      title: 'an object of names of variables and their texts',
      description: 'The environment, in the open: it stands in the release, which all hosts read.',
      type: 'object',
      propertyNames: { pattern: VARIABLE },
      maxProperties: 256,
      additionalProperties: { type: 'string', maxLength: 32768 }
    },
    instances: {
      title: 'a number from 1 to 1000, or "all" for one on each host',
      anyOf: [{ type: 'integer', minimum: 1, maximum: 1000 }, { enum: ['all'] }],
      default: 1
    },
    hostnames: {
      title: 'a list of at most 16 hostnames in lower case, as in shop.example.com',
      description: 'What gateways that serve these hostnames lead to the app.',
      type: 'array',
      items: { type: 'string', pattern: DNS_NAME },
      maxItems: 16
    },
    place: {
      title: 'an object',
      description: 'What a host must have.',
      type: 'object',
      additionalProperties: false,
      properties: {
        labels: {
          title: 'an object of labels, as in { "region": "eu" }',
          type: 'object',
          propertyNames: { pattern: LABEL_NAME },
          maxProperties: 16,
          additionalProperties: { type: 'string', pattern: LABEL_VALUE }
        },
        memory: size('What one instance reserves, and may not exceed.'),
        cpu: {
          title: 'a number of cores from 0.01 to 1024',
          description: 'How much of the cores one instance may use.',
          type: 'number',
          minimum: 0.01,
          maximum: 1024
        },
        single: {
          title: 'true or false',
          description: 'Whether two instances must never run at once.',
          type: 'boolean',
          default: false
        }
      }
    },
    build: command('Run here before each push.'),
    setup: command('Run once for each bundle on each host, in its folder, as in npm ci.'),
    before: command('Run once for each release, on one host, before its instances start.'),
    update: {
      title: 'an object',
      description: 'How the instances of one release are replaced by those of the next.',
      type: 'object',
      additionalProperties: false,
      properties: {
        surge: {
          title: 'a number from 1 to 100',
          description: 'How many more than wanted may run while instances are replaced.',
          type: 'integer',
          minimum: 1,
          maximum: 100,
          default: 1
        },
        steady: duration('For how long a new instance has to pass until an old one ends.', '10s'),
        deadline: duration('How long a new instance may take until it passes.', '120s')
      }
    },
    logs: {
      title: 'an object',
      description: 'What is kept of the output of an instance.',
      type: 'object',
      additionalProperties: false,
      properties: {
        size: { ...size('How large one file becomes.'), default: '10MB' },
        files: {
          title: 'a number from 1 to 100',
          type: 'integer',
          minimum: 1,
          maximum: 100,
          default: 5
        },
        keep: duration('How long they are kept after the instance ended.', '7d')
      }
    },
    uses: {
      title: 'a list of at most 16 roles, as in ["db@3.x"]',
      description:
        'What the app reaches: for db it finds DB_URL, DB_HOST and DB_PORT in its environment.',
      type: 'array',
      items: { type: 'string', minLength: 1, maxLength: 214 },
      maxItems: 16
    },
    sandbox: {
      title: 'true or false',
      description: 'Whether it is shut in by bubblewrap. Only hosts that have it run the app then.',
      type: 'boolean',
      default: false
    }
  }
}

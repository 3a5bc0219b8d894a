import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Child } from '../child.js'
import { freePort } from '../island.js'
import type { Near, PathKind } from './path.js'
import { untilListening } from './ssh.js'

const NGINX = ['/usr/sbin/nginx', '/usr/local/sbin/nginx', '/usr/local/bin/nginx'].find(existsSync)
/** To the backend, kept: as many as there are clients. */
const KEPT_CONNECTIONS = 64

/** nginx as a reverse proxy: the usual thing to put in front of HTTP, on the same machine as its backend. */
export const nginx: PathKind = {
  name: 'nginx',
  isBaseline: true,

  async missing() {
    return NGINX ? null : 'nginx is not installed; on Debian, apt-get install nginx-light'
  },

  async open(island, backendPort) {
    return {
      kind: nginx,
      far: null,
      async near(): Promise<Near> {
        const dir = island.folder()
        const port = await freePort()
        const config = join(dir, 'nginx.conf')
        writeFileSync(config, configuration(dir, port, backendPort))
        const child = new Child(NGINX ?? 'nginx', ['-c', config, '-p', dir], { name: 'nginx' })
        await untilListening(port, child)
        return { port, path: '/', child, stop: () => child.stop('SIGQUIT') }
      },
      close: async () => {}
    }
  }
}

/** One worker, since the gateway has one; the fields that a reverse proxy adds; connections kept at both ends. */
function configuration(dir: string, port: number, backendPort: number): string {
  const user = process.getuid?.() === 0 ? 'user root;' : ''
  const folders = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((name) => `${name}_temp_path ${dir}/${name};`)
    .join(' ')
  return `${user} daemon off; worker_processes 1; pid ${dir}/pid; error_log stderr;
events { worker_connections 4096; }
http {
  access_log off; keepalive_requests 1000000000; ${folders}
  upstream backend {
    server 127.0.0.1:${backendPort};
    keepalive ${KEPT_CONNECTIONS}; keepalive_requests 1000000000;
  }
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://backend;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
    }
  }
}
`
}

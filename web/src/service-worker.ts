/**
 * The service worker: keeps the application for use without a network, and adds the headers that make the page isolated from
 * other origins (threads need it) and that keep it from asking any other origin for anything.
 */

export {}

interface Extendable extends Event {
  waitUntil: (work: Promise<unknown>) => void
}

interface Fetching extends Extendable {
  readonly request: Request
  respondWith: (response: Promise<Response>) => void
}

/** What a service worker has of its own; the compiler's library for pages lacks it. */
interface ServiceWorker {
  readonly registration: { readonly scope: string }
  readonly clients: { claim: () => Promise<void> }
  skipWaiting: () => Promise<void>
  addEventListener(type: 'install' | 'activate', listener: (event: Extendable) => void): void
  addEventListener(type: 'fetch', listener: (event: Fetching) => void): void
}

const worker = globalThis as unknown as ServiceWorker

const VERSION = '__GLIOMASK_VERSION__'
const CACHE_PREFIX = `gliomask ${worker.registration.scope} `
const CACHE = CACHE_PREFIX + VERSION

const HEADERS = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Content-Security-Policy':
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; connect-src 'self' blob:; img-src 'self' blob: data:; " +
    "style-src 'self' 'unsafe-inline'; font-src 'self' data:; manifest-src 'self'; form-action 'none'; base-uri 'none'; frame-src blob:",
}

worker.addEventListener('install', (event) => event.waitUntil(keepAll()))
worker.addEventListener('activate', (event) => event.waitUntil(takeOver()))
worker.addEventListener('fetch', (event) => {
  const url = new URL(event.request.url)
  if (event.request.method !== 'GET' || !url.href.startsWith(worker.registration.scope)) return
  event.respondWith(answer(event.request, url))
})

async function keepAll(): Promise<void> {
  const manifest = new URL('files.json', worker.registration.scope)
  const { first } = (await (await fetch(manifest, { cache: 'no-cache' })).json()) as Record<'first' | 'later', Record<string, string>>
  const files = Object.keys(first)
  const cache = await caches.open(CACHE)
  // Past the browser's own cache: a new version must not be kept with files of the last.
  await cache.addAll(files.map((file) => new Request(new URL(file, worker.registration.scope), { cache: 'no-cache' })))
  await worker.skipWaiting()
}

async function takeOver(): Promise<void> {
  const old = (await caches.keys()).filter((name) => name.startsWith(CACHE_PREFIX) && name !== CACHE)
  await Promise.all(old.map((name) => caches.delete(name)))
  await worker.clients.claim()
}

/** A browser that has no room left still gets the file. */
async function keep(cache: Cache, request: Request, response: Response): Promise<void> {
  await cache.put(request, response).catch(() => undefined)
}

async function answer(request: Request, url: URL): Promise<Response> {
  const cache = await caches.open(CACHE)
  const page = url.href.split(/[?#]/)[0] === worker.registration.scope
  const kept = await cache.match(page ? new URL('index.html', worker.registration.scope) : request, { ignoreSearch: true })
  const response = kept ?? (await fetch(request))
  // What only a graphics card needs is kept once one has asked for it; what is missing here is of those.
  if (!kept && response.ok && /\/(assets|model)\//.test(url.pathname)) await keep(cache, request, response.clone())
  if (response.type === 'opaque' || response.type === 'opaqueredirect') return response
  const headers = new Headers(response.headers)
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value)
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers })
}

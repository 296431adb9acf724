/** Registers the service worker, and reloads once where the page is not yet isolated from other origins. */

const TRIED = 'gliomask isolation tried'

/** Returns what people should know about this browser; empty where nothing is missing. */
export async function isolate(): Promise<string> {
  if (!('serviceWorker' in navigator)) {
    return 'This browser keeps no service worker here (https or localhost is needed), so one thread is used and the network is needed each time.'
  }
  try {
    await navigator.serviceWorker.register('./service-worker.js')
    await navigator.serviceWorker.ready
  } catch (error) {
    return `The application cannot be kept for use without a network (${error instanceof Error ? error.message : String(error)}).`
  }
  if (crossOriginIsolated) return ''
  if (!sessionStorage.getItem(TRIED)) {
    sessionStorage.setItem(TRIED, 'yes')
    location.reload()
    return ''
  }
  return 'This browser does not isolate the page, so one thread is used: segmenting takes several times as long.'
}

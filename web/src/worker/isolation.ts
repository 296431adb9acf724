/** Registers the service worker, and reloads once where the page is not yet isolated from other origins. */

import { text } from '../text/en'

const TRIED = 'gliomask isolation tried'

/** Returns what people should know about this browser; empty where nothing is missing. */
export async function isolate(): Promise<string> {
  if (!('serviceWorker' in navigator)) {
    return text.noServiceWorker
  }
  try {
    await navigator.serviceWorker.register('./service-worker.js')
    await navigator.serviceWorker.ready
  } catch (error) {
    return text.notKept(error instanceof Error ? error.message : String(error))
  }
  if (crossOriginIsolated) return ''
  if (!sessionStorage.getItem(TRIED)) {
    sessionStorage.setItem(TRIED, 'yes')
    location.reload()
    return ''
  }
  return text.notIsolated
}

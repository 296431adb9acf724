/** What a device lacks for segmenting and looking, told before a person waits for it. */

import { text } from '../text/en'
import { graphics } from '../viewer/drawable'

/** What a browser tells of its device; null where it does not. */
export interface Device {
  readonly memoryGb: number | null
  readonly processors: number | null
  /** A finger is the pointer, and the screen is narrow. */
  readonly phone: boolean
  readonly webgl: boolean
}

const NEEDED_GB = 4
const FEW_PROCESSORS = 2
const NARROW_SCREEN = 820

/** Asks the browser. */
export function device(): Device {
  const { deviceMemory } = navigator as Navigator & { readonly deviceMemory?: number }
  return {
    memoryGb: deviceMemory ?? null,
    processors: navigator.hardwareConcurrency || null,
    phone: matchMedia('(pointer: coarse)').matches && Math.min(screen.width, screen.height) < NARROW_SCREEN,
    webgl: graphics() !== null,
  }
}

/** Returns a sentence for everything that it lacks. */
export function lacks({ memoryGb, processors, phone, webgl }: Device): string[] {
  const sentences: string[] = []
  if (phone) sentences.push(text.phone)
  if (memoryGb !== null && memoryGb < NEEDED_GB) sentences.push(text.littleMemory(memoryGb))
  // A phone is told already that it is slow.
  if (!phone && processors !== null && processors < FEW_PROCESSORS) sentences.push(text.oneProcessor)
  if (!webgl) sentences.push(text.cannotShow)
  return sentences
}

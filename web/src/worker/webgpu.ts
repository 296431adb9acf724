/** The network on the graphics card, through WebGPU; its runtime is fetched only where there is a card. */

import { ModelError } from '../pipeline/errors'
import type { Model } from '../pipeline/model'
import { text } from '../text/en'
import type { Fetch, Runtime } from './engine'
import { openSession, type Session } from './session'

/** What is asked of a browser's WebGPU here; the compiler's library lacks it. */
interface Gpu {
  requestAdapter(): Promise<{ readonly info: { readonly isFallbackAdapter?: boolean }; readonly limits: { readonly maxStorageBufferBindingSize: number } } | null>
}

/** A slab of 8 slices of 256 x 256 with the widest layer's 64 channels of four bytes: 128 MiB, which is also what WebGPU promises at least. */
const NEEDED_BYTES = 2 ** 27

/** Opening takes seconds and a batch less; a card that needs longer than this hangs, or is lost. */
const PATIENCE_S = 120

/**
 * Returns why WebGPU cannot be used here; null where it can.
 *
 * @param software whether a card that the processor plays is good enough; it is slower than WebAssembly.
 */
export async function whyNotWebGpu(software: boolean): Promise<string | null> {
  const { gpu } = navigator as Navigator & { readonly gpu?: Gpu }
  if (!gpu) return text.noWebGpu
  // The runtime waits for the card from inside WebAssembly (JSPI); another that does without is twice as large.
  if (!('Suspending' in WebAssembly)) return text.noJspi
  const adapter = await gpu.requestAdapter().catch(() => null)
  if (!adapter) return text.noCard
  if (adapter.info.isFallbackAdapter && !software) return text.softwareCard
  if (adapter.limits.maxStorageBufferBindingSize < NEEDED_BYTES) return text.smallCard
  return null
}

/** How the runtime lays out images: its own choice, then the other, for it answers wrongly in one with some networks (decision 0022). */
const LAYOUTS = ['NHWC', 'NCHW'] as const

/**
 * Opens the network on the card, in float32, and proves it.
 *
 * @throws ModelError no layout reproduces the golden pair.
 */
export async function openWebGpu(model: Model, fetchFile: Fetch, runtime: Runtime): Promise<Session> {
  const ort = await import('onnxruntime-web/jspi')
  ort.env.wasm.numThreads = 1
  ort.env.wasm.wasmPaths = runtime
  let wrong: unknown
  for (const preferredLayout of LAYOUTS) {
    try {
      const opening = openSession(ort, { name: 'webgpu', preferredLayout }, model, 'fp32', fetchFile, 'WebGPU')
      const session = await within(PATIENCE_S, opening)
      return { ...session, predict: (batch, shape) => within(PATIENCE_S, session.predict(batch, shape)) }
    } catch (error) {
      if (!(error instanceof ModelError)) throw error
      wrong = error
    }
  }
  throw wrong
}

/** Returns what a promise gives, or throws after some seconds: a card that is lost may leave it open for ever. */
export async function within<T>(seconds: number, work: Promise<T>): Promise<T> {
  let late: ReturnType<typeof setTimeout> | undefined
  const patience = new Promise<never>((_, reject) => {
    late = setTimeout(() => reject(new Error(text.slowCard(seconds))), 1000 * seconds)
  })
  try {
    return await Promise.race([work, patience])
  } finally {
    clearTimeout(late)
  }
}

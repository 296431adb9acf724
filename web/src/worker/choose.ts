/** On what the network runs: the graphics card where there is one and it reproduces the golden pair, else the processor. */

import type { Model } from '../pipeline/model'
import type { Predict } from '../pipeline/predict'
import type { Computing } from '../pipeline/results'
import { text } from '../text/en'
import type { Engine, Fetch, Runtime } from './engine'
import type { Session } from './session'
import { openWasm, precisionOf, threadCount } from './wasm'
import { openWebGpu, whyNotWebGpu } from './webgpu'

/** What a person asked for: `webgpu` takes a card that the processor plays, too. */
export type Wanted = 'auto' | 'webgpu' | 'wasm'

export interface Ways {
  readonly whyNotWebGpu: (software: boolean) => Promise<string | null>
  readonly openWebGpu: () => Promise<Session>
  readonly openWasm: () => Promise<Session>
}

/** The ways that this browser has. */
export function ways(model: Model, fetchFile: Fetch, runtimes: { readonly wasm?: Runtime; readonly webgpu: Runtime }): Ways {
  return {
    whyNotWebGpu,
    openWebGpu: () => openWebGpu(model, fetchFile, runtimes.webgpu),
    openWasm: () => openWasm(model, fetchFile, runtimes.wasm),
  }
}

/**
 * Opens an engine that is proved.
 *
 * Where the graphics card cannot be used, differs from the golden pair, or fails while it works (lost, out of memory), the
 * processor goes on from the batch that failed, and `computing` says so.
 */
export async function openEngine(model: Model, wanted: Wanted, { whyNotWebGpu, openWebGpu, openWasm }: Ways): Promise<Engine> {
  const onProcessor = (session: Session, why: string | null): [Session, Computing] => [
    session,
    { provider: 'wasm', precision: precisionOf(model), threads: threadCount(), goldenDifference: session.goldenDifference, notWebGpu: why },
  ]
  let [session, computing] = await first()
  const predict: Predict = async (batch, shape) => {
    if (computing.provider === 'wasm') return session.predict(batch, shape)
    // The card may keep what it was given.
    const kept = batch.slice()
    try {
      return await session.predict(batch, shape)
    } catch (error) {
      // Not waited for: a card that is lost may never end.
      void session.close().catch(() => undefined)
      ;[session, computing] = onProcessor(await openWasm(), text.cardFailed(said(error)))
      return session.predict(kept, shape)
    }
  }
  return { predict, computing: () => computing, close: () => session.close() }

  async function first(): Promise<[Session, Computing]> {
    const why = wanted === 'wasm' ? text.notWanted : await whyNotWebGpu(wanted === 'webgpu')
    if (why !== null) return onProcessor(await openWasm(), why)
    try {
      const card = await openWebGpu()
      return [card, { provider: 'webgpu', precision: 'fp32', threads: 1, goldenDifference: card.goldenDifference, notWebGpu: null }]
    } catch (error) {
      return onProcessor(await openWasm(), said(error))
    }
  }
}

function said(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

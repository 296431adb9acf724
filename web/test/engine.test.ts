/** On what the network runs: the card, the processor, and the way from one to the other. */

import { expect, test, vi } from 'vitest'

import type { Model } from '../src/pipeline/model'
import { text } from '../src/text/en'
import { openEngine, type Wanted, type Ways } from '../src/worker/choose'
import type { Session } from '../src/worker/session'
import { whyNotWebGpu, within } from '../src/worker/webgpu'

const MODEL = { int8: { file: 'model.int8.onnx', sha256: '0', bytes: 1, tolerance: 0.01 } } as Model
const BATCH = [1, 1, 1, 1] as const

/** A session that answers with a number, or fails from a batch on. */
function answering(value: number, failsFrom = Infinity): Session & { closed: boolean } {
  let asked = 0
  const session = {
    closed: false,
    goldenDifference: value / 1000,
    predict: async (batch: Float32Array) => {
      if (++asked >= failsFrom) {
        batch.fill(0)
        throw new Error('Device is lost')
      }
      return new Float32Array([value + (batch[0] as number)])
    },
    close: async () => void (session.closed = true),
  }
  return session
}

function ways(change: Partial<Ways> = {}): Ways {
  return { whyNotWebGpu: async () => null, openWebGpu: async () => answering(10), openWasm: async () => answering(20), ...change }
}

async function opened(wanted: Wanted, change: Partial<Ways> = {}) {
  const engine = await openEngine(MODEL, wanted, ways(change))
  return { engine, answer: (await engine.predict(new Float32Array([1]), BATCH))[0], ...engine.computing() }
}

test('a card that reproduces the golden pair is used, in float32', async () => {
  expect(await opened('auto')).toMatchObject({ answer: 11, provider: 'webgpu', precision: 'fp32', goldenDifference: 0.01, notWebGpu: null })
})

test('a card whose answer disagrees is not used, and the record says why', async () => {
  const openWebGpu = () => Promise.reject(new Error('WebGPU does not reproduce its golden pair'))
  const found = await opened('auto', { openWebGpu })
  expect(found).toMatchObject({ answer: 21, provider: 'wasm', precision: 'int8', goldenDifference: 0.02, notWebGpu: 'WebGPU does not reproduce its golden pair' })
})

test('without a card, or where the processor is asked for, no runtime for cards is fetched', async () => {
  const openWebGpu = () => expect.fail('was fetched')
  expect(await opened('auto', { openWebGpu, whyNotWebGpu: async () => text.noCard })).toMatchObject({ answer: 21, notWebGpu: text.noCard })
  expect(await opened('wasm', { openWebGpu })).toMatchObject({ answer: 21, notWebGpu: text.notWanted })
})

test('a simulated card is used where it is asked for alone', async () => {
  const asked: boolean[] = []
  const whyNot = async (software: boolean) => (asked.push(software), text.softwareCard)
  await opened('auto', { whyNotWebGpu: whyNot })
  await opened('webgpu', { whyNotWebGpu: whyNot })
  expect(asked).toEqual([false, true])
})

test('where the card is lost, the processor goes on from the batch that failed, with what it was given', async () => {
  const card = answering(10, 2)
  const engine = await openEngine(MODEL, 'auto', ways({ openWebGpu: async () => card }))
  const answers = []
  for (const value of [1, 2, 3]) answers.push((await engine.predict(new Float32Array([value]), BATCH))[0])
  expect(answers).toEqual([11, 22, 23])
  expect(card.closed).toBe(true)
  expect(engine.computing()).toMatchObject({ provider: 'wasm', precision: 'int8', notWebGpu: text.cardFailed('Device is lost') })
})

test('a card that does not answer is given up', async () => {
  await expect(within(0.01, new Promise(() => undefined))).rejects.toThrow(text.slowCard(0.01))
  expect(await within(1, Promise.resolve(3))).toBe(3)
})

const CARD = { info: { isFallbackAdapter: false }, limits: { maxStorageBufferBindingSize: 2 ** 30 } }

test.each([
  ['no WebGPU', {}, false, text.noWebGpu],
  ['no adapter', { gpu: { requestAdapter: async () => null } }, false, text.noCard],
  ['an adapter that is refused', { gpu: { requestAdapter: () => Promise.reject(new Error('no')) } }, false, text.noCard],
  ['a simulated card', { gpu: { requestAdapter: async () => ({ ...CARD, info: { isFallbackAdapter: true } }) } }, false, text.softwareCard],
  ['a simulated card that was asked for', { gpu: { requestAdapter: async () => ({ ...CARD, info: { isFallbackAdapter: true } }) } }, true, null],
  ['a small card', { gpu: { requestAdapter: async () => ({ ...CARD, limits: { maxStorageBufferBindingSize: 1 } }) } }, false, text.smallCard],
  ['a card', { gpu: { requestAdapter: async () => CARD } }, false, null],
])('a browser with %s is told what it is', async (_, navigator, software, why) => {
  vi.stubGlobal('navigator', navigator)
  vi.stubGlobal('WebAssembly', { Suspending: class {} })
  expect(await whyNotWebGpu(software)).toBe(why)
  vi.stubGlobal('WebAssembly', {})
  if (why === null) expect(await whyNotWebGpu(software)).toBe(text.noJspi)
  vi.unstubAllGlobals()
})

/** Code of a currency of the feed, such as `USD`. */
export type Currency = 'USD' | 'EUR' | 'GBP' | 'JPY' | 'CHF' | 'CAD' | 'AUD' | (string & {})

/** Prices at one moment. */
export interface Tick {
  type: 'tick'
  /** Position in the feed and time in Unix milliseconds. */
  id: number
  /** Id of the entry before it. */
  prev: number
  /** The same moment as `id`, in UTC. */
  timedate: string
  /** A price for each chosen currency that has one. */
  prices: Record<Currency, number>
  /** The same prices with all their digits. */
  exact: Record<Currency, string>
  /** For each price, the sources that it was made of. */
  sources: Record<Currency, string[]>
  /** Version of the method by which the prices were made. */
  method?: number
  confidence?: Record<Currency, number>
  spread?: Record<Currency, number>
}

export type State = 'live' | 'degraded' | 'stale' | 'down'

/** A change of the feed's health. */
export interface Status {
  type: 'status'
  id: number
  prev: number
  state: State
  since: string
  reason: string
}

/** A range of ids in which updates are missing. */
export interface Gap {
  type: 'gap'
  /** Last id before the gap. */
  after: number
  /** First id after it. */
  before: number
  reason: 'source_outage' | 'history_expired' | 'history_lost' | 'replay_limit' | 'held_too_long'
    | 'unknown_client_id' | 'unexplained' | 'unread' | (string & {})
  /** The affected currencies, unless all chosen ones are affected. */
  currencies?: Currency[]
}

export type Update = Tick | Status | Gap

/** State of the connection; of the best one if there are several. */
export interface Connection {
  state: 'idle' | 'connecting' | 'replaying' | 'live' | 'waiting' | 'closed'
  /** The address that is connected, or that is tried now or next. */
  url?: string
  /** Time of the next attempt in Unix milliseconds. */
  retryAt?: number
  reason?: string
  /** True if the feed has ended because the server rejects it permanently. */
  refused?: boolean
  /** True if the connection of another tab is used. */
  shared?: boolean
  /** True if the feed waits until buffered updates have been read. */
  unread?: boolean
}

/** The replica that has answered. */
export interface Hello {
  type: 'hello'
  /** The address of the connection. */
  url: string
  replica: string
  version: string
  currencies: Currency[]
  interval_ms: number
  /** The state of the feed when the connection began. It is valid until the next status. While no replica writes, no
   *  status comes, so look at the age of the newest tick too. */
  state: State | null
  reason: string | null
}

export interface Options {
  /** One or several addresses of the feed, `http://host:port` (or https, ws, wss). */
  url?: string | URL | readonly (string | URL)[]
  currencies?: Currency | readonly Currency[]
  /** The moment to replay from: a Date, RFC 3339, Unix seconds or milliseconds. */
  since?: Date | string | number
  /** The id of the last update that you have, to resume after it. */
  after?: number | string
  /** Only ticks in which a price has changed. */
  changes?: boolean
  /** At most one tick in this time: `30s`, `5m`, or milliseconds. */
  every?: string | number
  /** Maximum number of ticks to replay on each connection. */
  limit?: number
  /** A secret name for clients that cannot store `lastId`. */
  clientId?: string
  /** The API key, if the server serves only clients with a key. */
  key?: string
  /** Number of connections at the same time, 1 to 4. */
  redundancy?: number
  /** One connection for all tabs of an origin with the same options, if the browser allows it. */
  shared?: boolean
  transport?: 'websocket' | 'sse'
  /** Time without data after which a connection counts as dead, in milliseconds. */
  silence?: number
}

export interface Statistics {
  /** Updates that were taken from a connection. */
  taken: number
  /** Copies that were dropped. */
  doubled: number
  /** Updates that were read from the history. */
  healed: number
  addresses: {
    url: string
    taken: number
    /** Connections to this address that replaced an earlier connection to any address. */
    reconnects: number
  }[]
}

export interface FeedEvents {
  tick: CustomEvent<Tick>
  status: CustomEvent<Status>
  gap: CustomEvent<Gap>
  connection: CustomEvent<Connection & { type: 'connection' }>
  hello: CustomEvent<Hello>
  synced: CustomEvent<{ type: 'synced', id: number }>
}

/** The price in one currency at a moment. */
export interface PriceAt {
  /** The price that was in force. It is missing if there is only an `average`. */
  price?: number
  /** The same price with all its digits. */
  exact?: string
  /** The id of the tick of the price. */
  id?: number
  /** Time from that tick to the moment, in milliseconds. */
  age_ms?: number
  /** The average over the window before the moment, weighted by time. */
  average?: number
  exactAverage?: string
  /** The share of the window in which a price was in force. */
  covered?: number
}

export interface PricesAt {
  /** The moment, in UTC. */
  time: string
  prices: Record<Currency, PriceAt>
}

/** A feed that continues over lost connections. */
export class Feed extends EventTarget implements AsyncIterable<Update> {
  constructor(options?: Options)
  /** The `detail` of the last `connection` event. */
  readonly connection: Connection
  /** Id of the last update that was delivered. Store it, and pass it as `after` to resume later. */
  get lastId(): number | undefined
  get statistics(): Statistics
  /** Returns the prices that were in force at a moment, by default now, and their averages over a time before it. */
  pricesAt(time?: Date | string | number, options?: { window?: string | number }): Promise<PricesAt>
  /** Closes the feed permanently. */
  close(): void
  [Symbol.asyncIterator](): AsyncGenerator<Update, void, undefined>
  addEventListener<Type extends keyof FeedEvents>(
    type: Type,
    listener: ((this: Feed, event: FeedEvents[Type]) => void) | { handleEvent(event: FeedEvents[Type]): void } | null,
    options?: boolean | AddEventListenerOptions,
  ): void
  removeEventListener<Type extends keyof FeedEvents>(
    type: Type,
    listener: ((this: Feed, event: FeedEvents[Type]) => void) | { handleEvent(event: FeedEvents[Type]): void } | null,
    options?: boolean | EventListenerOptions,
  ): void
}

// Reads klines and status events, a message a line as Redis or the WebSocket sends them; prints a line for each.
// go run klines.go klines.jsonl status.jsonl
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strings"
)

// Kline has exact decimals as json.Number: Float64() rounds, big.Rat's SetString does not.
// `python main.py schema` has all of it: #/components/schemas/Kline.
type Kline struct {
	Symbol     string      `json:"symbol"`
	Interval   int64       `json:"interval"` // ms, as Timestamp
	Timestamp  int64       `json:"timestamp"`
	Open       json.Number `json:"open"`
	High       json.Number `json:"high"`
	Low        json.Number `json:"low"`
	Close      json.Number `json:"close"`
	Volume     json.Number `json:"volume"`
	TradeCount int64       `json:"trade_count"`
	Turnover   json.Number `json:"turnover"`
	Complete   bool        `json:"complete"`
	Source     string      `json:"source"`
	Revision   int64       `json:"revision"`
}

type KlinesEnvelope struct {
	Exchange string  `json:"exchange"`
	Channel  string  `json:"channel"`
	DataType string  `json:"data_type"`
	Data     []Kline `json:"data"`
}

type StatusEvent struct {
	Exchange string   `json:"exchange"`
	Event    string   `json:"event"`
	Ts       int64    `json:"ts"`
	Symbols  []string `json:"symbols"`
	Reason   string   `json:"reason"`
}

func each(path string, take func(message []byte) error) {
	file, err := os.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	scanner := bufio.NewScanner(file)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		if err := take(scanner.Bytes()); err != nil {
			log.Fatal(err)
		}
	}
	if err := scanner.Err(); err != nil {
		log.Fatal(err)
	}
}

func main() {
	each(os.Args[1], func(message []byte) error {
		var envelope KlinesEnvelope
		err := json.Unmarshal(message, &envelope)
		for _, k := range envelope.Data {
			fmt.Println(k.Symbol, k.Interval, k.Timestamp, k.Close, k.Complete, k.Revision)
		}
		return err
	})
	each(os.Args[2], func(message []byte) error {
		var event StatusEvent
		err := json.Unmarshal(message, &event)
		fmt.Println(event.Event, event.Ts, strings.Join(event.Symbols, ","))
		return err
	})
}

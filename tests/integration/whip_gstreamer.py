# SPDX-License-Identifier: Apache-2.0
"""A WHIP client on GStreamer's webrtcbin, which has libnice's ICE: plays a tone, trickles its candidates by PATCH, and says on
stdout what it got. It knows a URL and a token. Usage: whip_gstreamer.py URL TOKEN SECONDS HZ"""
import json
import re
import sys
import urllib.request
from urllib.parse import urljoin

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

import numpy  # noqa: E402

RATE_HZ = 48000
SEND = ("webrtcbin name=rtc bundle-policy=max-bundle  audiotestsrc is-live=true wave=sine freq={hz} ! audioconvert ! audioresample ! "
        "opusenc ! rtpopuspay pt=97 ! application/x-rtp,media=audio,encoding-name=OPUS,payload=97 ! rtc.")
HEAR = ("rtpopusdepay name=in ! opusdec ! audioconvert ! audioresample ! audio/x-raw,format=S16LE,channels=1,rate={rate} ! "
        "appsink name=out emit-signals=true sync=false")


class Client:
    def __init__(self, url, token, seconds, hz):
        self.url, self.token, self.said = url, token, {"trickled": 0}
        self.session, self.etag, self.offer, self.candidates, self.samples = None, None, "", [], numpy.zeros(0)
        self.loop, self.pipeline = GLib.MainLoop(), Gst.parse_launch(SEND.format(hz=hz))
        self.rtc = self.pipeline.get_by_name("rtc")
        self.agent = self.rtc.get_property("ice-agent")  # kept: the element does not hold it against Python's garbage collection
        self.agent.emit("add-local-ip-address", "127.0.0.1")  # libnice leaves the loopback out by itself
        self.rtc.connect("on-negotiation-needed", lambda rtc: self.later(self.make_offer))
        self.rtc.connect("on-ice-candidate", lambda rtc, line, text: self.later(self.trickle, line, text))
        self.rtc.connect("pad-added", self.hear)
        GLib.timeout_add_seconds(int(seconds), self.end)

    @staticmethod
    def later(call, *args):
        """GStreamer calls from its own threads."""
        GLib.idle_add(lambda: call(*args) and False)

    def http(self, method, url, content_type=None, body=None, **headers):
        headers = {"Authorization": f"Bearer {self.token}", **headers}
        if content_type:
            headers["Content-Type"] = content_type
        request = urllib.request.Request(url, body.encode() if body else None, headers, method=method)
        with urllib.request.urlopen(request, timeout=20) as reply:
            return reply.status, reply.headers, reply.read().decode()

    def make_offer(self):
        promise = Gst.Promise.new()
        self.rtc.emit("create-offer", None, promise)
        promise.wait()
        reply = promise.get_reply()  # the offer is a part of it, and goes when it does
        offer = reply.get_value("offer")
        self.offer = offer.sdp.as_text()
        self.rtc.emit("set-local-description", offer, Gst.Promise.new())
        _, headers, answer = self.http("POST", self.url, "application/sdp", self.offer)
        self.session, self.etag = urljoin(self.url, headers["Location"]), headers["ETag"]
        _, sdp = GstSdp.SDPMessage.new_from_text(answer)
        self.rtc.emit("set-remote-description",
                      GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, sdp), Gst.Promise.new())
        waiting, self.candidates = self.candidates, []
        for line, text in waiting:
            self.trickle(line, text)

    def trickle(self, line, text):
        if not self.session:
            self.candidates.append((line, text))
            return
        ufrag, pwd, mid = (re.search(rf"a={name}:(\S+)", self.offer).group(1) for name in ["ice-ufrag", "ice-pwd", "mid"])
        body = (f"a=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\nm=audio 9 UDP/TLS/RTP/SAVPF 97\r\na=mid:{mid}\r\na={text}\r\n")
        status, _, _ = self.http("PATCH", self.session, "application/trickle-ice-sdpfrag", body, **{"If-Match": self.etag})
        self.said["trickled"] += status == 204

    def hear(self, rtc, pad):
        ear = Gst.parse_bin_from_description(HEAR.format(rate=RATE_HZ), False)
        ear.get_by_name("out").connect("new-sample", self.take)
        ear.add_pad(Gst.GhostPad.new("sink", ear.get_by_name("in").get_static_pad("sink")))
        self.pipeline.add(ear)
        ear.sync_state_with_parent()
        pad.link(ear.get_static_pad("sink"))

    def take(self, out):
        buffer = out.emit("pull-sample").get_buffer()
        heard = numpy.frombuffer(buffer.extract_dup(0, buffer.get_size()), dtype=numpy.int16)
        self.samples = numpy.concatenate([self.samples, heard])[-RATE_HZ // 2:]
        return Gst.FlowReturn.OK

    def end(self):
        samples = self.samples
        if len(samples) == RATE_HZ // 2:
            spectrum = numpy.abs(numpy.fft.rfft(samples * numpy.hanning(len(samples))))
            self.said["heard_hz"] = float(numpy.argmax(spectrum) * RATE_HZ / len(samples))
        self.said["session"] = self.session
        if self.session:
            self.said["deleted"], _, _ = self.http("DELETE", self.session)
        self.loop.quit()
        return False

    def run(self):
        self.pipeline.set_state(Gst.State.PLAYING)
        self.loop.run()
        self.pipeline.set_state(Gst.State.NULL)
        print(json.dumps(self.said))


Gst.init(None)
Client(*sys.argv[1:]).run()

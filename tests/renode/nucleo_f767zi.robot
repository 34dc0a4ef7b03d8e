*** Comments ***
Runs under renode-test of Renode 1.16 or later, on firmware that tests/renode/prepare.py builds:

    make renode-test

Timeouts are in seconds of virtual time.

*** Settings ***
Library           OperatingSystem
Library           String

*** Variables ***
${CASES}          ${CURDIR}/../../build/renode
${BOARD}          ${CURDIR}/../../tflm_ops/boards/nucleo_f767zi
${UART}           sysbus.usart3
${TIMEOUT}        30

*** Keywords ***
Monitor Path
    [Arguments]                ${path}
    ${escaped}=                Replace String  ${path}  ${SPACE}  \\${SPACE}
    RETURN                     @${escaped}

Load Firmware
    [Arguments]                ${name}
    ${elf}=                    Monitor Path  ${CASES}/${name}
    ${script}=                 Monitor Path  ${BOARD}/nucleo_f767zi.resc
    Execute Command            set bin ${elf}
    Execute Command            include ${script}

Start Firmware
    [Arguments]                ${name}
    Load Firmware              ${name}
    Create Terminal Tester     ${UART}  timeout=${TIMEOUT}
    Start Emulation

Expect Lines
    [Arguments]                ${name}
    ${text}=                   Get File  ${CASES}/${name}
    @{lines}=                  Split To Lines  ${text}
    FOR  ${line}  IN  @{lines}
        Wait For Line On Uart  ${line}
    END

Read Counters
    ${instructions}=           Execute Command  cpu ExecutedInstructions
    ${counts}=                 Execute Command  sysbus ReadDoubleWord 0xE0001004
    RETURN                     ${instructions.strip()}  ${counts.strip()}

*** Test Cases ***
Should Give The Outputs Of The Reference At Every Level
    Start Firmware             levels.elf
    Wait For Line On Uart      nk-firmware 1
    Expect Lines               levels.txt
    Wait For Line On Uart      end OK

Should Switch The Level Between Inferences
    Start Firmware             switching.elf
    Expect Lines               switching.txt
    Wait For Line On Uart      end OK

Should Refuse A Corrupted Model
    Start Firmware             corrupted.elf
    Wait For Line On Uart      ^error check NK_ERROR_CHECKSUM$  treatAsRegex=true

Should Count The Instructions That QEMU Counts
    Start Firmware             levels.elf
    ${text}=                   Get File  ${CASES}/qemu.txt
    @{lines}=                  Split To Lines  ${text}
    FOR  ${line}  IN  @{lines}
        @{words}=              Split String  ${line}
        ${result}=             Wait For Line On Uart  ^instructions ${words}[0] (\\d+)$  treatAsRegex=true
        Should Be True         abs(${result.Groups[0]} - ${words}[1]) <= 0.02 * ${words}[1]
    END
    Wait For Line On Uart      end OK

Should Count Instructions With The Cycle Counter
    # The firmware runs for 50 ms at least: both readings see it at work.
    Load Firmware              counting.elf
    Execute Command            emulation RunFor "0.01"
    ${instructions}  ${counts}=  Read Counters
    Execute Command            emulation RunFor "0.02"
    ${more_instructions}  ${more_counts}=  Read Counters
    ${passed}=                 Evaluate  ${more_instructions} - ${instructions}
    ${counted}=                Evaluate  (${more_counts} - ${counts}) % (1 << 32)
    Should Be True             abs(${counted} - 0.02 * 200e6) <= 0.001 * ${counted}
    Should Be True             abs(${counted} - ${passed}) <= 0.001 * ${passed}
